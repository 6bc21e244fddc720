/**
 * A job as it goes on: its state from the server, its progress from the stream of its events, and how fast it is.
 * @module
 */

import { ApiError, get } from "./api.js";
import { follow } from "./follow.js";

/** @typedef {import("./types.js").Job} Job */
/** @typedef {import("./types.js").ServerEvent} ServerEvent */

/**
 * @typedef {object} Tracked
 * @property {Job} job
 * @property {number|null} rate windows per second over the last half minute; null where it is not known
 * @property {number|null} left seconds until the last window
 */

const ENDED = new Set(["successful", "failed", "dismissed"]);
const RATE_SECONDS = 30;
const AGAIN_MILLISECONDS = 1500;

/** @param {Job} job */
export function hasEnded(job) {
  return ENDED.has(job.status);
}

/** Names of stages as people read them. */
export const STAGES = /** @type {Record<string, string>} */ ({
  "": "waiting",
  opening: "opening the slide",
  tissue: "looking for tissue",
  segment: "segmenting",
  pyramid: "building overviews",
  outlines: "drawing outlines",
});

/** Measures how fast windows are done, from (time, done) of events. */
export class Pace {
  constructor() {
    /** @type {{time: number, done: number}[]} */
    this.samples = [];
  }

  /** @param {number} time in seconds @param {number} done */
  add(time, done) {
    const last = this.samples.at(-1);
    if (last && done < last.done) this.samples = [];
    this.samples.push({ time, done });
    while (this.samples.length > 2 && time - /** @type {{time: number}} */ (this.samples[0]).time > RATE_SECONDS) this.samples.shift();
  }

  /** @returns {number|null} per second */
  get rate() {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (!first || !last || last.time <= first.time || last.done <= first.done) return null;
    return (last.done - first.done) / (last.time - first.time);
  }
}

/**
 * Apply an event to what is known of a job.
 * @param {Job} job
 * @param {ServerEvent} event
 * @returns {Job|null} null where the job must be asked for again
 */
export function applyEvent(job, event) {
  if (event.kind !== "progress") return null;
  const { stage, done, total } = event.data;
  const progress = stage === "segment" && total > 0 ? Math.min(99, Math.floor((100 * done) / total)) : job.progress;
  return { ...job, status: "running", stage, done, total, progress };
}

/**
 * Follow a job; where the connection is lost, it is tried again.
 * @param {string} id
 * @param {(now: Tracked) => void} listener called at once, and with everything that happens
 * @param {(error: import("./api.js").ApiError) => void} onError
 * @returns {() => void}
 */
export function trackJob(id, listener, onError) {
  const pace = new Pace();
  let stopped = false;
  let again = 0;
  /** @type {(() => void)|null} */
  let stopFollowing = null;
  /** @type {Job|null} */
  let job = null;
  const tell = () => {
    if (stopped || !job) return;
    const rate = job.status === "running" && job.stage === "segment" ? pace.rate : null;
    listener({ job, rate, left: rate === null ? null : (job.total - job.done) / rate });
  };
  const ask = async () => {
    try {
      job = /** @type {Job} */ (await get(`/v1/jobs/${id}`));
      tell();
    } catch (error) {
      if (stopped || !(error instanceof ApiError)) return;
      window.clearTimeout(again);
      if (error.lost) again = window.setTimeout(() => void ask(), AGAIN_MILLISECONDS);
      else onError(error);
      return;
    }
    if (stopped || stopFollowing || hasEnded(job)) return;
    stopFollowing = follow(`/v1/jobs/${id}/events`, (event) => {
      if (event.kind === "progress" && event.data["stage"] === "segment") pace.add(event.data["time"], event.data["done"]);
      const next = job && applyEvent(job, event);
      if (next) {
        job = next;
        tell();
      } else void ask();
    }, { onEnd: () => void ask(), onError });
  };
  void ask();
  return () => {
    stopped = true;
    window.clearTimeout(again);
    stopFollowing?.();
  };
}
