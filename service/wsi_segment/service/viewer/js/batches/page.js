/**
 * Batches with their counts: `#/batches`. One batch with its jobs: `#/batches/BATCH`.
 * @module
 */

import { may } from "../app/frame.js";
import { showError } from "../app/notices.js";
import { hrefOf } from "../app/router.js";
import { debounced, listen } from "../lib/disposal.js";
import { button, fill, h, refill } from "../lib/dom.js";
import { count, moment } from "../lib/format.js";
import { get, post, remove, server } from "../server/api.js";
import { follow } from "../server/follow.js";
import { createJobTable } from "../jobs/table.js";
import { statusBadge } from "../jobs/status.js";

/** @typedef {import("../lib/disposal.js").Disposal} Disposal */
/** @typedef {import("../app/router.js").Page} Page */
/** @typedef {import("../server/types.js").Batch} Batch */

const QUIET_MILLISECONDS = 500;
/** Where jobs never stop to change, batches are asked for as often. */
const MOST_MILLISECONDS = 2500;

const WORDS = /** @type {Record<string, string>} */ ({ accepted: "waiting", running: "running", successful: "done", failed: "failed", dismissed: "cancelled" });

/** @type {import("../app/router.js").OpenPage} */
export async function openBatchesPage(main, route, disposal) {
  const id = route.parts[0];
  return id ? openBatch(main, id, disposal) : openList(main, route.query.get("page") ?? "", disposal);
}

/**
 * @param {HTMLElement} main
 * @param {string} token
 * @param {Disposal} disposal
 * @returns {Promise<Page>}
 */
async function openList(main, token, disposal) {
  const body = h("tbody");
  const pager = h("div", { class: "pager" });
  const reload = async () => {
    const page = /** @type {{batches: Batch[], next_page_token: string}} */ (await get(`/v1/batches?page_size=50&page_token=${encodeURIComponent(token)}`));
    refill(body, page.batches.map((batch) => h("tr", { data: { batch: batch.id } },
      h("th", { attributes: { scope: "row" } }, h("a", { text: batch.name || moment(batch.created), attributes: { href: hrefOf("batches", [batch.id]) } })),
      h("td", { class: "state" }, statusBadge(batch), bar(batch)),
      h("td", { text: count(batch.jobs) }),
      h("td", {}, counts(batch)),
      h("td", { text: moment(batch.created) }),
    )));
    refill(pager, token ? h("a", { text: "Newest", attributes: { href: hrefOf("batches") } }) : null,
      page.next_page_token ? h("a", { text: "Older", attributes: { href: hrefOf("batches", [], { page: page.next_page_token }) } }) : null,
      page.batches.length === 0 ? h("p", { class: "hint", text: "No batches here. Select several slides on the first page, and segment them together." }) : null);
  };
  const again = debounced(QUIET_MILLISECONDS, () => void reload().catch(() => undefined), MOST_MILLISECONDS);
  disposal.add(again.cancel);
  listen(disposal, server, "back", () => again());
  disposal.add(follow("/v1/events", (event) => { if (event.kind !== "progress" && event.kind !== "now") again(); }));
  await reload();
  const head = h("thead", {}, h("tr", {}, ["Batch", "State", "Jobs", "Counts", "Posted"].map((text) => h("th", { text, attributes: { scope: "col" } }))));
  fill(main, h("h1", { text: "Batches" }),
    h("div", { class: "scroll", attributes: { tabindex: 0, role: "region", "aria-label": "Batches" } }, h("table", { class: "list" }, head, body)), pager);
  return { ready: "batches" };
}

/**
 * @param {HTMLElement} main
 * @param {string} id
 * @param {Disposal} disposal
 * @returns {Promise<Page>}
 */
async function openBatch(main, id, disposal) {
  const top = h("div", { class: "card batch" });
  const draw = async () => {
    const batch = /** @type {Batch} */ (await get(`/v1/batches/${id}`));
    const ended = batch.progress === 100;
    const again = (batch.counts["failed"] ?? 0) + (batch.counts["dismissed"] ?? 0);
    const act = async (/** @type {() => Promise<any>} */ action) => {
      try {
        await action();
        await draw();
        await table.reload();
      } catch (error) {
        showError(error);
      }
    };
    refill(top,
      h("div", { class: "page-head" }, h("h1", { text: batch.name || `Batch of ${moment(batch.created)}` }), statusBadge(batch)),
      bar(batch), h("p", {}, counts(batch)),
      may("write") ? h("p", { class: "actions" },
        ended ? null : button("Cancel what has not ended", () => void act(() => remove(`/v1/batches/${id}`))),
        again > 0 ? button(`Try ${count(again)} again`, () => void act(() => post(`/v1/batches/${id}/retry`))) : null) : null);
  };
  const later = debounced(QUIET_MILLISECONDS, () => void draw().catch(() => undefined), MOST_MILLISECONDS);
  disposal.add(later.cancel);
  listen(disposal, server, "back", () => later());
  const table = await createJobTable(() => ({ batch: id }), {
    onEvent: (event) => { if (event.data["batch"] === id && event.kind !== "progress") later(); },
  });
  disposal.add(table.dispose);
  await draw();
  fill(main, top, table.element);
  return { ready: "batch" };
}

/** @param {Batch} batch */
function bar(batch) {
  return h("progress", { attributes: { max: 100, value: batch.progress, "aria-label": `Progress of batch ${batch.name || batch.id}` } });
}

/** @param {Batch} batch */
function counts(batch) {
  return Object.keys(WORDS).filter((status) => batch.counts[status]).map((status) =>
    h("span", { class: `badge ${status}`, text: `${count(batch.counts[status] ?? 0)} ${WORDS[status]}` }));
}
