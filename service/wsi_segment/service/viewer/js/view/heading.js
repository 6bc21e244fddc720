/**
 * What is shown: slide, model, what was asked for; and again when the job has ended, which may bring doubts.
 * @module
 */

import { hrefOf } from "../app/router.js";
import { asked, modelOf } from "../jobs/asked.js";
import { listen } from "../lib/disposal.js";
import { fill, h } from "../lib/dom.js";
import { moment } from "../lib/format.js";

/** @type {import("./page.js").Feature} */
export function heading({ pane, disposal, side }) {
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
  side.append(element);
}

/** @param {import("./result.js").Result} result */
function facts({ job, slide }) {
  const name = job.slide_name ?? job.name ?? "Slide";
  const toSlide = slide && h("a", { text: "slide", attributes: { href: hrefOf("slide", [slide.id]), title: "The slide alone, with all its jobs" } });
  return [
    h("h1", { text: name, attributes: { title: name } }),
    h("p", { text: [modelOf(job), moment(job.finished ?? job.started)].filter(Boolean).join(" · ") }),
    h("p", {}, h("a", { text: "job", attributes: { href: hrefOf("jobs", [job.id]) } }), toSlide && " · ", toSlide),
    h("p", { class: "hint", text: asked(job) }),
    slide ? null : h("p", { class: "hint", text: "The slide itself is not there: only its mask is shown." }),
    job.warnings.map((one) => h("p", { class: "warning", text: one.message })),
  ];
}
