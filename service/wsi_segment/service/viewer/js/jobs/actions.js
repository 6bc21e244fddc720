/**
 * What can be done with a job: cancel, try again, remove its result.
 * @module
 */

import { may } from "../app/frame.js";
import { confirmed } from "../app/dialog.js";
import { notice, showError } from "../app/notices.js";
import { hrefOf } from "../app/router.js";
import { button, h } from "../lib/dom.js";
import { post, remove } from "../server/api.js";

/** @typedef {import("../server/types.js").Job} Job */

/** Ids of jobs whose end was asked for and has not come yet: a worker stops at its next window, and the server does not say so before. */
const cancelling = new Set();

/**
 * Return the buttons that fit the state of a job.
 * @param {Job} job
 * @param {(job: Job|null) => void} changed called with what the server says of it afterwards, or null where that is to be asked
 * @param {{removal?: boolean}} [options]
 * @returns {HTMLElement[]}
 */
export function jobActions(job, changed, options = {}) {
  const name = job.slide_name ?? job.name ?? job.id;
  const run = async (/** @type {() => Promise<Job|null>} */ action) => {
    try {
      changed(await action());
    } catch (error) {
      showError(error);
    }
  };
  const found = [];
  if (canView(job)) {
    const text = job.status === "running" ? "Watch" : "View";
    found.push(h("a", { class: "button primary", text, attributes: { href: hrefOf("view", [job.id]), "aria-label": `${text} ${name}` } }));
  }
  if (!may("write")) return found;
  if (job.status !== "accepted" && job.status !== "running") cancelling.delete(job.id);
  else if (cancelling.has(job.id)) found.push(button("Cancelling …", () => undefined, { name: `Cancelling … ${name}`, disabled: true }));
  else {
    found.push(button("Cancel", () => void run(async () => {
      const answer = await remove(`/v1/jobs/${job.id}`);
      cancelling.add(job.id);
      return answer;
    }), { name: `Cancel ${name}` }));
  }
  if (job.status === "failed" || job.status === "dismissed") {
    found.push(button("Try again", () => void run(() => post(`/v1/jobs/${job.id}/retry`)), { name: `Try again: ${name}` }));
  }
  if (options.removal && job.status === "successful" && !job.removed && job.name === null) {
    found.push(button("Remove the result", async () => {
      const text = "Mask, outlines and preview are deleted from the server for good. The job stays in the list.";
      if (!(await confirmed("Remove the result?", text, "Remove"))) return;
      await run(async () => {
        await remove(`/v1/jobs/${job.id}/results`);
        notice("The result was removed.");
        return null;
      });
    }, { class: "danger" }));
  }
  return found;
}

/**
 * Return what the buttons of a job depend on: as long as it stays the same, they do.
 * @param {Job} job
 */
export function actionsState(job) {
  return `${job.status} ${job.removed} ${cancelling.has(job.id)}`;
}

/** @param {Job} job */
export function canView(job) {
  return job.status === "running" || (job.status === "successful" && !job.removed);
}
