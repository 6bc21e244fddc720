/**
 * A job's mask as the page reads it: the finished one, or what there is of it while the job runs.
 * @module
 */

import { ApiError, get } from "../server/api.js";

/** @typedef {import("../server/types.js").Job} Job */
/** @typedef {import("../server/types.js").Slide} Slide */
/** @typedef {import("../server/types.js").TileTable} TileTable */

/**
 * @typedef {object} Result
 * @property {Job} job
 * @property {Slide|null} slide null where it does not lie under a root, or cannot be opened
 * @property {TileTable} table
 * @property {string} path below which its tiles are
 * @property {boolean} growing whether the job still makes it
 */

/**
 * Fetch what a viewer must know of a job's mask.
 * @param {string} id of the job
 * @returns {Promise<Result>}
 */
export async function readResult(id) {
  const finished = get(`/v1/jobs/${id}/results/tiles.json`).then((table) => ({ table, growing: false }));
  finished.catch(() => undefined); // awaited below, after the job itself
  const job = /** @type {Job} */ (await get(`/v1/jobs/${id}`));
  const slide = readSlide(job.slide);
  const growing = job.status === "running" || job.status === "accepted";
  const found = growing ? { table: await get(`/v1/jobs/${id}/partial/tiles.json`), growing } : await finished;
  return { job, slide: await slide, ...found, path: `/v1/jobs/${id}/${found.growing ? "partial" : "results"}` };
}

/**
 * Fetch a slide.
 * @param {string} id
 * @returns {Promise<Slide|null>} null where it is not there
 */
export async function readSlide(id) {
  try {
    const slide = /** @type {Slide} */ (await get(`/v1/slides/${id}`));
    return slide.error || !slide.width ? null : slide;
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 422 || error.status === 503)) return null;
    throw error;
  }
}
