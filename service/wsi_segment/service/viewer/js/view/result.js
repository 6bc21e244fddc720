/**
 * A job's mask as the page reads it: the finished one, or what there is of it while the job runs.
 * @module
 */

import { ApiError, get, send } from "../server/api.js";

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
  const job = /** @type {Job} */ (await get(`/v1/jobs/${id}`));
  const growing = job.status === "running" || job.status === "accepted";
  const path = `/v1/jobs/${id}/${growing ? "partial" : "results"}`;
  const [slide, answer] = await Promise.all([readSlide(job.slide), send("GET", `${path}/tiles.json`)]);
  const table = answer.status === 204 ? emptyTable(slide) : /** @type {TileTable} */ (await answer.json());
  return { job, slide, table, path, growing };
}

/**
 * Return the table of a mask of which nothing is there yet.
 * @param {Slide|null} slide
 * @returns {TileTable}
 */
function emptyTable(slide) {
  if (!slide?.width || !slide.height) throw new Error("The job has only begun, and its slide cannot be shown. Try again in a moment.");
  const mpp = slide.mpp ?? 1;
  return {
    tile_size: 256,
    levels: [],
    origin: [0, 0],
    slide_width: slide.width,
    slide_height: slide.height,
    mpp_x: slide.mpp_x ?? mpp,
    mpp_y: slide.mpp_y ?? mpp,
    classes: [],
    probabilities: false,
  };
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
