/**
 * The state of a job in words, and its bar.
 * @module
 */

import { h } from "../lib/dom.js";
import { count, duration, significant } from "../lib/format.js";
import { STAGES } from "../server/track.js";

/** @typedef {import("../server/types.js").Job} Job */
/** @typedef {import("../server/track.js").Tracked} Tracked */

const WORDS = { accepted: "waiting", running: "running", successful: "done", failed: "failed", dismissed: "cancelled" };

/**
 * Return the state of a job as a coloured word.
 * @param {Job|{status: Job["status"], removed?: string|null}} job
 */
export function statusBadge(job) {
  const removed = Boolean(job.removed);
  return h("span", { class: `badge ${removed ? "removed" : job.status}`, text: removed ? "result removed" : WORDS[job.status] });
}

/**
 * Return a bar of how far a job is.
 * @param {Job} job
 */
export function progressBar(job) {
  const label = `Progress of ${job.slide_name ?? "the job"}`;
  return h("progress", { attributes: { max: 100, value: job.progress, "aria-label": label } });
}

/**
 * Say what a job does at present, how fast, and how long it will take.
 * @param {Tracked} now
 * @returns {string}
 */
export function progressText({ job, rate, left }) {
  if (job.status === "accepted") return waitingText(job);
  if (job.status !== "running") return job.message === WORDS[job.status] ? "" : job.message;
  const parts = [STAGES[job.stage] ?? job.stage];
  if (job.stage === "segment" && job.total > 0) parts.push(`${count(job.done)} of ${count(job.total)} windows`);
  if (rate !== null) parts.push(`${significant(rate)} windows/s`);
  if (left !== null) parts.push(`about ${duration(left)} left`);
  return parts.join(" · ");
}

/** @param {Job} job */
function waitingText(job) {
  if (job.message) return job.message;
  if (job.position === null) return "waits for a worker";
  if (job.position === 0) return "is next";
  return `${count(job.position)} ${job.position === 1 ? "job comes" : "jobs come"} before it`;
}
