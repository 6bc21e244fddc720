/**
 * A table of jobs, page by page, that follows what happens to those it shows.
 * @module
 */

import { notice, showError } from "../app/notices.js";
import { hrefOf } from "../app/router.js";
import { createDisposal, debounced, listen } from "../lib/disposal.js";
import { button, fill, h, refill } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { get, server } from "../server/api.js";
import { follow } from "../server/follow.js";
import { Pace, applyEvent } from "../server/track.js";
import { actionsState, jobActions } from "./actions.js";
import { asked, modelOf } from "./asked.js";
import { progressBar, progressText, statusBadge } from "./status.js";

/** @typedef {import("../server/types.js").Job} Job */
/** @typedef {{element: HTMLElement, reload: () => Promise<void>, dispose: () => void}} JobTable */

/** @typedef {{element: HTMLTableRowElement, pace: Pace, job: () => Job, update: (job: Job) => void}} Row of one job; it stays the same element */

const PAGE = 50;
const QUIET_MILLISECONDS = 400;
/** Where jobs never stop to change, the table is asked for as often. */
const MOST_MILLISECONDS = 2000;

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
  const older = button("Older", () => void turn([...tokens, next]));
  const newer = button("Newer", () => void turn(tokens.slice(0, -1)));
  const pager = h("div", { class: "pager" }, newer, older);
  let tokens = [""];
  /** @type {Map<string, Row>} */
  const shown = new Map();
  let next = "";
  let asked = 0;
  let waiting = 0;

  /** Fetch a page; an answer that another question has overtaken is dropped. @param {string[]} [wanted] tokens of the pages up to it */
  const reload = async (wanted = tokens) => {
    asked += 1;
    const mine = asked;
    waiting += 1;
    try {
      const query = new URLSearchParams({ page_size: String(PAGE), page_token: wanted.at(-1) ?? "", ...filter() });
      const page = /** @type {{jobs: Job[], next_page_token: string}} */ (await get(`/v1/jobs?${query}`));
      if (mine !== asked || disposal.disposed) return;
      tokens = wanted;
      next = page.next_page_token;
      draw(page.jobs);
    } finally {
      waiting -= 1;
    }
  };
  /** @param {string[]} wanted */
  const turn = async (wanted) => {
    try {
      await reload(wanted);
      body.closest("table")?.scrollIntoView({ block: "nearest" });
    } catch (error) {
      showError(error);
    }
  };
  /** Bring rows up to date; what stays is not touched, as it may have the focus. @param {Job[]} jobs */
  const draw = (jobs) => {
    const focused = [...body.children].findIndex((one) => one.contains(document.activeElement));
    const paging = [older, newer].some((one) => one === document.activeElement);
    const ids = new Set(jobs.map((job) => job.id));
    for (const [id, row] of shown) {
      if (ids.has(id)) continue;
      row.element.remove();
      shown.delete(id);
    }
    jobs.forEach((job, index) => {
      const row = shown.get(job.id) ?? createRow(job, reloadOne);
      shown.set(job.id, row);
      row.update(job);
      const there = body.children[index] ?? null;
      if (there !== row.element) body.insertBefore(row.element, there);
    });
    if (focused >= 0 && !body.contains(document.activeElement)) {
      /** @type {HTMLElement|null|undefined} */ (body.children[Math.min(focused, jobs.length - 1)]?.querySelector("a"))?.focus();
    }
    empty.hidden = jobs.length > 0;
    older.disabled = next === "";
    newer.disabled = tokens.length === 1;
    pager.hidden = older.disabled && newer.disabled;
    if (paging) (older.disabled ? newer : newer.disabled ? older : /** @type {HTMLElement} */ (document.activeElement)).focus(); // a button that means nothing now has no focus
  };
  /** @param {Job|null} job */
  const reloadOne = (job) => {
    if (job) shown.get(job.id)?.update(job);
    else void reload().catch(showError);
  };
  const again = debounced(QUIET_MILLISECONDS, () => {
    if (waiting > 0) again(); // for the answer that is on its way, rather than to overtake it for ever
    else void reload().catch(() => undefined);
  }, MOST_MILLISECONDS);
  const stop = follow("/v1/events", (event) => {
    options.onEvent?.(event);
    const known = shown.get(event.data["job"]);
    if (!known) {
      if (event.kind !== "progress" && event.kind !== "now" && tokens.length === 1) again(); // it may belong here now
      return;
    }
    if (event.kind === "progress" && event.data["stage"] === "segment") known.pace.add(event.data["time"], event.data["done"]);
    const changed = applyEvent(known.job(), event);
    if (changed) known.update(changed);
    else again();
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
  return { element, reload: () => reload([""]), dispose: disposal.dispose };
}

/**
 * Build the row of a job. Only what has changed is built anew, so that a button keeps the focus while its job goes on.
 * @param {Job} job
 * @param {(job: Job|null) => void} changed
 * @returns {Row}
 */
function createRow(job, changed) {
  const pace = new Pace();
  const state = h("td", { class: "state" });
  const model = h("td", { class: "model" });
  const actions = h("div", { class: "actions" });
  const bar = progressBar(job);
  const text = h("small");
  const element = h("tr", { data: { job: job.id } },
    h("th", { attributes: { scope: "row" } }, h("a", { text: job.slide_name ?? job.name ?? job.slide, attributes: { href: hrefOf("jobs", [job.id]) } })),
    state,
    model,
    h("td", {}, h("a", { attributes: { href: hrefOf("jobs", [job.id]) } }, h("time", { text: moment(job.created, "medium"), attributes: { datetime: job.created } }))),
    h("td", {}, actions));
  let now = job;
  let drawn = "";
  let offered = "";
  const update = (/** @type {Job} */ next) => {
    now = next;
    const rate = now.status === "running" && now.stage === "segment" ? pace.rate : null;
    text.textContent = progressText({ job: now, rate, left: rate === null ? null : (now.total - now.done) / rate });
    bar.value = now.progress;
    element.dataset["status"] = now.status;
    const states = `${now.status} ${now.removed} ${now.warnings.length}`;
    if (states !== drawn) {
      fill(state, statusBadge(now), doubts(now), now.status === "running" ? bar : null, text);
      fill(model, modelOf(now), h("small", { text: asked(now) }));
    }
    drawn = states;
    const offers = actionsState(now);
    if (offers !== offered) refill(actions, jobActions(now, changed));
    offered = offers;
  };
  return { element, pace, job: () => now, update };
}

/** @param {Job} job */
function doubts({ warnings }) {
  if (warnings.length === 0) return null;
  return h("span", { class: "warning", text: ` ${warnings.length} doubt${warnings.length > 1 ? "s" : ""}`, attributes: { title: warnings.map((one) => one.message).join("\n") } });
}
