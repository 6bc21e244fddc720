/**
 * All jobs, the newest first.
 * @module
 */

import { setReady } from "../app/ready.js";
import { hrefOf } from "../app/router.js";
import { fill, h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { get } from "../server/api.js";

/** @typedef {import("../server/types.js").Job} Job */

/** @type {import("../app/router.js").OpenPage} */
export async function openJobsPage(main) {
  const { jobs } = /** @type {{jobs: Job[]}} */ (await get("/v1/jobs?page_size=50"));
  fill(main, h("h1", { text: "Jobs" }), h("ul", {}, jobs.map((job) => h("li", {}, `${job.slide_name ?? job.slide} ${job.status} ${moment(job.created)} `,
    job.status === "successful" ? h("a", { text: "view", attributes: { href: hrefOf("view", [job.id]) } }) : null))));
  setReady("jobs");
  return { dispose: () => undefined };
}
