/**
 * The dialog that has slides segmented: a model with its card, a region, and all parameters.
 * @module
 */

import { showDialog } from "../app/dialog.js";
import { showError } from "../app/notices.js";
import { go } from "../app/router.js";
import { button, field, fill, h } from "../lib/dom.js";
import { count, significant } from "../lib/format.js";
import { get, idempotencyKey, post } from "../server/api.js";
import { FIELDS, FIRST_FIELDS, valueOf } from "./fields.js";
import { modelCard } from "./model-card.js";

/** @typedef {import("../server/types.js").Slide} Slide */
/** @typedef {import("../view/region-tool.js").Polygon} Polygon */
/** @typedef {import("./fields.js").FieldSpec} FieldSpec */

/**
 * Ask how slides are to be segmented, and post the job, or a batch for several.
 * @param {Slide[]} slides
 * @param {{region?: Polygon|null}} [options] for a single slide
 */
export async function openSubmitDialog(slides, options = {}) {
  /** @type {{models: import("./model-card.js").Model[], default: string}} */
  let known;
  try {
    known = await get("/v1/models");
  } catch (error) {
    showError(error);
    return;
  }
  const single = slides.length === 1 ? slides[0] : undefined;
  const region = options.region ?? null;
  const model = h("select", { id: "submit-model" }, known.models.map((one) =>
    h("option", { text: `${one.name} ${one.version}`, attributes: { value: one.name, selected: one.name === known.default } })));
  const card = h("div");
  const drawCard = () => {
    const chosen = known.models.find((one) => one.name === model.value);
    fill(card, chosen ? modelCard(chosen) : null);
  };
  model.addEventListener("change", drawCard);
  drawCard();
  const controls = new Map(FIELDS.map((spec) => [spec, control(spec)]));
  const mpp = controls.get(/** @type {FieldSpec} */ (FIELDS.find((spec) => spec.name === "mpp")));
  if (single && !single.mpp) mpp?.setAttribute("required", "");
  mpp?.setAttribute("placeholder", single?.mpp ? `${significant(single.mpp)}, as the slide says` : single ? "needed: the slide states none" : "as each slide says");
  const use = h("select", { id: "submit-region" },
    h("option", { text: "Segment only what was drawn", attributes: { value: "region" } }),
    h("option", { text: "What was drawn is the tissue", attributes: { value: "tissue" } }));
  const name = h("input", { id: "submit-batch-name", attributes: { type: "text", maxlength: 200, placeholder: "such as week 12" } });
  const problem = h("p", { class: "problem", attributes: { role: "alert" } });
  const send = h("button", { class: "primary", text: single ? "Segment" : `Segment ${count(slides.length)} slides`, attributes: { type: "submit", form: "submit-form" } });
  /** @type {Map<string, string>} By what is posted: the same key for a second press after a lost answer, so that nothing is posted twice. */
  const keys = new Map();
  const rows = FIELDS.map((spec) => fieldRow(spec, /** @type {HTMLElement} */ (controls.get(spec))));
  const form = h("form", { id: "submit-form", class: "controls", on: {
    submit: async (/** @type {Event} */ event) => {
      event.preventDefault();
      send.disabled = true;
      problem.textContent = "";
      try {
        const wanted = postOf(slides, request(model.value, controls, region ? { [use.value]: region } : {}), name.value);
        const text = JSON.stringify(wanted.body);
        const key = keys.get(text) ?? idempotencyKey();
        keys.set(text, key);
        await submit(wanted, key);
        dialog.close();
      } catch (error) {
        problem.textContent = error instanceof Error ? error.message : String(error);
        send.disabled = false;
      }
    },
  } },
  h("p", { class: "hint", text: single ? single.name : slides.map((slide) => slide.name).join(", ") }),
  field("Model", model), card,
  single ? null : field("Name of the batch", name),
  region ? field("The region", use) : null,
  rows.slice(0, FIRST_FIELDS),
  h("details", {}, h("summary", { text: "More parameters" }), h("div", { class: "controls more" }, rows.slice(FIRST_FIELDS))),
  problem);
  const dialog = showDialog(single ? "Segment this slide" : `Segment ${count(slides.length)} slides`, [form], {
    name: "submit",
    actions: [button("Cancel", () => dialog.close()), send],
  });
}

/**
 * @param {FieldSpec} spec
 * @returns {HTMLInputElement|HTMLSelectElement}
 */
function control(spec) {
  const id = `submit-${spec.name}`;
  if (spec.kind === "choice") {
    return h("select", { id }, (spec.choices ?? []).map((value) => h("option", { text: value, attributes: { value } })));
  }
  if (spec.kind === "tick") return h("input", { id, attributes: { type: "checkbox" } });
  return h("input", { id, attributes: { type: "number", min: spec.min, max: spec.max, step: spec.kind === "whole" ? 1 : "any", placeholder: "by default" } });
}

/**
 * @param {FieldSpec} spec
 * @param {HTMLElement} made
 */
function fieldRow(spec, made) {
  if (spec.kind !== "tick") return field(spec.text, made, spec.help);
  const help = h("small", { id: `${made.id}-help`, text: spec.help });
  made.setAttribute("aria-describedby", help.id);
  return h("div", { class: "field" }, h("label", { class: "tick", attributes: { for: made.id } }, made, h("span", { text: spec.text })), help);
}

/**
 * @param {string} model
 * @param {Map<FieldSpec, HTMLInputElement|HTMLSelectElement>} controls
 * @param {Record<string, Polygon>} drawn
 */
function request(model, controls, drawn) {
  /** @type {Record<string, any>} */
  const body = { model };
  for (const [spec, made] of controls) {
    const value = valueOf(spec, made);
    if (value !== null) body[spec.name] = value;
  }
  return { ...body, ...drawn };
}

/**
 * Return what is to be posted: a job, or a batch for several slides.
 * @param {Slide[]} slides
 * @param {Record<string, any>} choices
 * @param {string} name of a batch
 * @returns {{page: string, body: Record<string, any>}} `page`: its name, which its address on the server has too
 */
function postOf(slides, choices, name) {
  const [first] = slides;
  if (slides.length === 1 && first) {
    const size = choices["image"] === undefined ? { width: first.width, height: first.height } : {};
    return { page: "jobs", body: { slide: first.id, ...size, ...choices } };
  }
  return { page: "batches", body: { name, jobs: slides.map((slide) => ({ slide: slide.id, ...choices })) } };
}

/**
 * Post it, and go to its page, which says how it stands.
 * @param {{page: string, body: Record<string, any>}} what
 * @param {string} key
 */
async function submit({ page, body }, key) {
  const made = await post(`/v1/${page}`, body, { "Idempotency-Key": key });
  go(page, [made.id]);
}
