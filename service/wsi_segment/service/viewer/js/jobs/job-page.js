/**
 * One job: how far it is, what it was asked for, and what came out.
 * @module
 */

import { notice } from "../app/notices.js";
import { hrefOf } from "../app/router.js";
import { h, refill } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { address } from "../server/api.js";
import { trackJob } from "../server/track.js";
import { canView, jobActions } from "./actions.js";
import { modelOf, parametersOf } from "./asked.js";
import { progressBar, progressText, statusBadge } from "./status.js";

/** @typedef {import("../server/track.js").Tracked} Tracked */
/** @typedef {import("../server/types.js").Job} Job */

/**
 * @param {HTMLElement} main
 * @param {string} id
 * @param {import("../lib/disposal.js").Disposal} disposal
 * @returns {Promise<import("../app/router.js").Page>}
 */
export function openJobPage(main, id, disposal) {
  return new Promise((resolve, reject) => {
    let stop = () => {};
    let drawn = "";
    /** @param {Tracked} now */
    const draw = (now) => {
      const state = `${now.job.status} ${now.job.removed} ${now.job.warnings.length}`;
      if (state !== drawn) {
        drawn = state;
        refill(main, page(now, restart));
      } else update(main, now);
      resolve({ ready: "job" });
    };
    const failed = (/** @type {Error} */ error) => {
      if (drawn) notice(error.message, { kind: "error" });
      reject(error);
    };
    const restart = () => {
      stop();
      drawn = "";
      stop = trackJob(id, draw, failed);
    };
    disposal.add(() => stop());
    restart();
  });
}

/**
 * @param {Tracked} now
 * @param {() => void} changed
 */
function page(now, changed) {
  const { job } = now;
  const name = job.slide_name ?? job.name ?? "A slide that is no longer there";
  return h("article", { class: "job card", data: { status: job.status } },
    h("div", { class: "page-head" }, h("h1", { text: name }), statusBadge(job)),
    job.status === "running" ? progressBar(job) : null,
    h("p", { class: "progress-text", text: progressText(now), attributes: { "aria-live": "polite" } }),
    job.warnings.map((one) => h("p", { class: "warning", text: one.message })),
    h("p", { class: "actions" }, jobActions(job, changed, { removal: true })),
    canView(job) && job.status === "successful" ? preview(job) : null,
    h("dl", { class: "facts" }, facts(job).map(([key, value]) => [h("dt", { text: key }), h("dd", {}, value)]).flat()),
  );
}

/**
 * @param {HTMLElement} main
 * @param {Tracked} now
 */
function update(main, now) {
  const bar = main.querySelector("progress");
  if (bar) bar.value = now.job.progress;
  const text = main.querySelector(".progress-text");
  if (text) text.textContent = progressText(now);
}

/** @param {Job} job */
function preview(job) {
  const image = h("img", { class: "preview", attributes: { src: address(`/v1/jobs/${job.id}/results/preview.png`), alt: "The mask over the slide", loading: "lazy" } });
  image.addEventListener("error", () => image.remove()); // masks of others come without one
  return h("a", { attributes: { href: hrefOf("view", [job.id]), "aria-label": "View the result" } }, image);
}

/**
 * @param {Job} job
 * @returns {[string, Node|string][]}
 */
function facts(job) {
  /** @type {[string, Node|string|null][]} */
  const found = [
    ["Model", modelOf(job)],
    ["Slide", h("a", { text: job.slide_name ?? job.slide, attributes: { href: hrefOf("slide", [job.slide]) } })],
    ["Batch", job.batch ? h("a", { text: job.batch, attributes: { href: hrefOf("batches", [job.batch]) } }) : null],
    ["Posted", moment(job.created)],
    ["Started", job.started ? moment(job.started) : null],
    ["Ended", job.finished ? moment(job.finished) : null],
    ["Priority", job.priority ? String(job.priority) : null],
    ["Id", h("code", { text: job.id })],
  ];
  for (const { text, value } of parametersOf(job)) found.push([text, value || "yes"]);
  return /** @type {[string, Node|string][]} */ (found.filter((entry) => entry[1] !== null));
}
