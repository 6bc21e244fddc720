/**
 * All jobs, the newest first: `#/jobs?status=failed`. One job: `#/jobs/JOB`.
 * @module
 */

import { go } from "../app/router.js";
import { fill, h } from "../lib/dom.js";
import { openJobPage } from "./job-page.js";
import { createJobTable } from "./table.js";

const STATES = { "": "all", accepted: "waiting", running: "running", successful: "done", failed: "failed", dismissed: "cancelled" };

/** @type {import("../app/router.js").OpenPage} */
export async function openJobsPage(main, route, disposal) {
  const id = route.parts[0];
  if (id) return openJobPage(main, id, disposal);
  const wanted = route.query.get("status") ?? "";
  const select = h("select", { id: "status", on: { change: () => go("jobs", [], select.value ? { status: select.value } : {}) } },
    Object.entries(STATES).map(([value, text]) => h("option", { text, attributes: { value, selected: value === wanted } })));
  const table = await createJobTable(() => {
    /** @type {Record<string, string>} */
    const filter = wanted ? { status: wanted } : {};
    return filter;
  });
  disposal.add(table.dispose);
  fill(main,
    h("div", { class: "page-head" }, h("h1", { text: "Jobs" }), h("div", { class: "labelled" }, h("label", { text: "Show", attributes: { for: "status" } }), select)),
    table.element);
  return { ready: "jobs" };
}
