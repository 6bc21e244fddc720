/**
 * The page of one result: `#/view/JOB?at=...`. Its parts are features, each in a module of its own, around one pane.
 * @module
 */

import { firstResult } from "../app/early.js";
import { bindKeys } from "../app/keys.js";
import { setReady } from "../app/ready.js";
import { notice } from "../app/notices.js";
import { fetchedPart } from "../app/pages.js";
import { go, hrefOf, replaceQuery } from "../app/router.js";
import { createDisposal, debounced, listen } from "../lib/disposal.js";
import { fill, h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { viewKeys } from "./keys.js";
import { createPane } from "./pane.js";
import { createViewState, parseView, writeView } from "./view-state.js";

/** @typedef {import("./pane.js").Pane} Pane */
/** @typedef {import("../lib/disposal.js").Disposal} Disposal */

/**
 * What a feature gets to work with.
 * @typedef {object} View
 * @property {Pane} pane
 * @property {Disposal} disposal undone when the page is left
 * @property {HTMLElement} overlay over the slide, for what stays in place: scale bar, readouts
 * @property {HTMLElement} toolbar buttons over the slide
 * @property {HTMLElement} side the side panel
 * @property {(title: string, content: HTMLElement, options?: {open?: boolean, name?: string}) => HTMLDetailsElement} addPanel a part of the side panel that folds
 */

/** @typedef {(view: View) => void|Promise<void>} Feature */

const PATIENCE_MILLISECONDS = 800;
/** Without another tile for so long, tiles are slow, and tools need not wait for them. */
const MOST_PATIENCE_MILLISECONDS = 3000;

/** @type {import("../app/router.js").OpenPage} */
export async function openViewPage(main, route) {
  const id = route.parts[0] ?? "";
  const disposal = createDisposal();
  const state = createViewState(route.query);
  const paneElement = h("section", { class: "pane", attributes: { "aria-label": "Slide and mask" }, data: { drawn: "false" } });
  const side = h("aside", { class: "side", attributes: { "aria-label": "Legend and tools" } });
  fill(main, h("p", { class: "loading", text: "Loading the result …" }));
  const result = await firstResult(id);
  fill(main, h("div", { class: "view" }, paneElement, side));
  const pane = await createPane(paneElement, result, state, { name: `Slide ${result.job.slide_name ?? ""} with its mask` });
  disposal.add(pane.dispose);
  const overlay = h("div", { class: "overlay" });
  const toolbar = h("div", { class: "toolbar", attributes: { role: "toolbar", "aria-label": "View" } });
  paneElement.append(overlay, toolbar);
  side.append(heading(pane, disposal));

  /** @type {View} */
  const view = {
    pane,
    disposal,
    overlay,
    toolbar,
    side,
    addPanel(title, content, options = {}) {
      const panel = h("details", { class: "panel", attributes: { open: options.open ?? false }, data: { panel: options.name ?? "" } },
        h("summary", { text: title }), h("div", { class: "panel-content" }, content));
      side.append(panel);
      return panel;
    },
  };
  disposal.add(bindKeys(viewKeys(view)));
  disposal.add(watchResult(view));
  const remember = debounced(200, () => replaceQuery(writeView(state.get())));
  disposal.add(state.subscribe(() => remember()));
  disposal.add(remember.cancel);
  await firstLook(pane);
  const { FEATURES } = await fetchedPart(() => import("./features.js"));
  if (!paneElement.isConnected) return { dispose: disposal.dispose }; // another page is shown by now
  for (const feature of FEATURES) await feature(view);
  setReady("view");
  return {
    dispose: disposal.dispose,
    onRoute(next) {
      if (next.name !== "view" || next.parts[0] !== id) return false;
      if (next.query.toString() === "") return true;
      const wanted = parseView(next.query);
      state.set(wanted);
      if (wanted.at) pane.stage.show(...wanted.at);
      return true;
    },
  };
}

/**
 * Wait until slide and mask are drawn, so that what stands around them holds up no tile; not where tiles are slow.
 * @param {Pane} pane
 */
function firstLook({ element, stage, layer }) {
  return new Promise((done) => {
    const disposal = createDisposal();
    const end = () => {
      disposal.dispose();
      done(undefined);
    };
    const slow = debounced(PATIENCE_MILLISECONDS, end);
    const look = () => {
      if (element.dataset["drawn"] === "true") end();
      else slow();
    };
    const last = window.setTimeout(end, MOST_PATIENCE_MILLISECONDS);
    disposal.add(slow.cancel);
    disposal.add(() => window.clearTimeout(last));
    for (const [target, name] of /** @type {[EventTarget, string][]} */ ([[stage, "tile"], [stage, "slide-complete"], [layer, "drawn"]])) listen(disposal, target, name, look);
    look();
  });
}

/**
 * Say so when the result goes away while it is looked at.
 * @param {View} view
 */
function watchResult({ pane }) {
  let said = false;
  const gone = (/** @type {Event} */ event) => {
    if (said) return;
    said = true;
    const error = /** @type {CustomEvent<Error>} */ (event).detail;
    pane.element.dataset["gone"] = "true";
    notice(error.message, { kind: "error", action: { text: "All jobs", run: () => go("jobs") } });
  };
  pane.layer.addEventListener("gone", gone);
  return () => pane.layer.removeEventListener("gone", gone);
}

/**
 * Say what is shown, and again when the job has ended, which may bring doubts.
 * @param {Pane} pane
 * @param {Disposal} disposal
 */
function heading(pane, disposal) {
  const element = h("header", { class: "side-head" });
  /** @type {import("../server/types.js").Job|null} */
  let told = null;
  const tell = () => {
    if (pane.result.job === told) return;
    told = pane.result.job;
    fill(element, ...facts(pane.result));
  };
  tell();
  listen(disposal, pane.element, "result-replaced", tell);
  return element;
}

/** @param {import("./result.js").Result} result */
function facts({ job, slide }) {
  const name = job.slide_name ?? job.name ?? "Slide";
  return [
    h("h1", { text: name, attributes: { title: name } }),
    h("p", {}, [`${job.model}${job.model_version ? ` ${job.model_version}` : ""}`, moment(job.finished ?? job.started), ""].filter((text, index) => text || index === 2).join(" · "),
      h("a", { text: "job", attributes: { href: hrefOf("jobs", [job.id]) } })),
    slide ? null : h("p", { class: "hint", text: "The slide itself is not there: only its mask is shown." }),
    job.warnings.map((one) => h("p", { class: "warning", text: one.message })),
  ];
}
