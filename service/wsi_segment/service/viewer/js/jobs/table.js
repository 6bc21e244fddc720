/**
 * A table of jobs, page by page, that follows what happens to those it shows.
 * @module
 */

import { notice, showError } from "../app/notices.js";
import { hrefOf } from "../app/router.js";
import { createDisposal, debounced, listen } from "../lib/disposal.js";
import { button, fill, h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { get, server } from "../server/api.js";
import { follow } from "../server/follow.js";
import { Pace, applyEvent } from "../server/track.js";
import { jobActions } from "./actions.js";
import { asked, modelOf } from "./asked.js";
import { progressBar, progressText, statusBadge } from "./status.js";

/** @typedef {import("../server/types.js").Job} Job */
/** @typedef {{element: HTMLElement, reload: () => Promise<void>, dispose: () => void}} JobTable */

const PAGE = 50;

/**
 * Build a table of jobs.
 * @param {() => Record<string, string>} filter parameters of the list: `status`, `batch`, `slide`
 * @param {{onEvent?: (event: import("../server/types.js").ServerEvent) => void}} [options]
 * @returns {Promise<JobTable>}
 */
export async function createJobTable(filter, options = {}) {
  const disposal = createDisposal();
  const body = h("tbody");
  const empty = h("p", { class: "hint", text: "No jobs here." });
  const older = button("Older", () => void turn(1));
  const newer = button("Newer", () => void turn(-1));
  const pager = h("div", { class: "pager" }, newer, older);
  /** @type {string[]} */
  const tokens = [""];
  /** @type {Map<string, {job: Job, pace: Pace}>} */
  const shown = new Map();
  let next = "";

  const reload = async () => {
    const query = new URLSearchParams({ page_size: String(PAGE), page_token: tokens.at(-1) ?? "", ...filter() });
    const page = /** @type {{jobs: Job[], next_page_token: string}} */ (await get(`/v1/jobs?${query}`));
    next = page.next_page_token;
    const before = new Map(shown);
    shown.clear();
    for (const job of page.jobs) shown.set(job.id, { job, pace: before.get(job.id)?.pace ?? new Pace() });
    draw();
  };
  /** @param {number} by */
  const turn = async (by) => {
    if (by > 0) tokens.push(next);
    else tokens.pop();
    try {
      await reload();
      body.closest("table")?.scrollIntoView({ block: "nearest" });
    } catch (error) {
      showError(error);
    }
  };
  const draw = () => {
    fill(body, [...shown.values()].map(({ job, pace }) => row(job, pace, reloadOne)));
    empty.hidden = shown.size > 0;
    older.disabled = next === "";
    newer.disabled = tokens.length === 1;
    pager.hidden = older.disabled && newer.disabled;
  };
  /** @param {Job|null} job */
  const reloadOne = (job) => {
    if (!job) {
      void reload().catch(showError);
      return;
    }
    const known = shown.get(job.id);
    if (!known) return;
    known.job = job;
    redraw(job.id);
  };
  /** @param {string} id */
  const redraw = (id) => {
    const known = shown.get(id);
    const old = body.querySelector(`tr[data-job="${id}"]`);
    if (!known || !old) return;
    const focused = old.contains(document.activeElement);
    const made = row(known.job, known.pace, reloadOne);
    old.replaceWith(made);
    if (focused) /** @type {HTMLElement|null} */ (made.querySelector("a, button"))?.focus();
  };
  const again = debounced(400, () => void reload().catch(() => undefined));
  const stop = follow("/v1/events", (event) => {
    options.onEvent?.(event);
    const known = shown.get(event.data["job"]);
    if (!known) {
      if (event.kind !== "progress" && event.kind !== "now" && tokens.length === 1) again(); // it may belong here now
      return;
    }
    if (event.kind === "progress" && event.data["stage"] === "segment") known.pace.add(event.data["time"], event.data["done"]);
    const changed = applyEvent(known.job, event);
    if (!changed) {
      again();
      return;
    }
    known.job = changed;
    redraw(changed.id);
  }, { onError: (error) => notice(error.message, { kind: "error" }) });
  disposal.add(stop);
  disposal.add(again.cancel);
  listen(disposal, server, "back", () => again());
  await reload().catch((error) => {
    disposal.dispose();
    throw error;
  });
  const head = h("thead", {}, h("tr", {}, ["Slide", "State", "Model", "Posted", "Actions"].map((text) => h("th", { text, attributes: { scope: "col" } }))));
  const element = h("div", { class: "job-table" },
    h("div", { class: "scroll", attributes: { tabindex: 0, role: "region", "aria-label": "Jobs" } }, h("table", { class: "list" }, head, body)),
    empty, pager);
  return { element, reload: async () => { tokens.splice(1); await reload(); }, dispose: disposal.dispose };
}

/**
 * @param {Job} job
 * @param {Pace} pace
 * @param {(job: Job|null) => void} changed
 */
function row(job, pace, changed) {
  const rate = job.status === "running" && job.stage === "segment" ? pace.rate : null;
  const left = rate === null ? null : (job.total - job.done) / rate;
  const text = progressText({ job, rate, left });
  const doubts = job.warnings.length > 0 ? ` ${job.warnings.length} doubt${job.warnings.length > 1 ? "s" : ""}` : "";
  return h("tr", { data: { job: job.id, status: job.status } },
    h("th", { attributes: { scope: "row" } }, h("a", { text: job.slide_name ?? job.name ?? job.slide, attributes: { href: hrefOf("jobs", [job.id]) } })),
    h("td", { class: "state" }, statusBadge(job), doubts ? h("span", { class: "warning", text: doubts, attributes: { title: job.warnings.map((one) => one.message).join("\n") } }) : null,
      job.status === "running" ? progressBar(job) : null, text ? h("small", { text }) : null),
    h("td", { class: "model" }, modelOf(job), h("small", { text: asked(job) })),
    h("td", {}, h("a", { attributes: { href: hrefOf("jobs", [job.id]) } }, h("time", { text: moment(job.created, "medium"), attributes: { datetime: job.created } }))),
    h("td", {}, h("div", { class: "actions" }, jobActions(job, changed))),
  );
}
