/**
 * A job's mask as the page reads it: the finished one, or what there is of it while the job runs.
 * @module
 */

import { get } from "../server/api.js";

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
  const { job, slide, tiles } = /** @type {{job: Job, slide: Slide|null, tiles: TileTable|null}} */ (await get(`/v1/jobs/${id}/view`));
  const growing = job.status === "running" || job.status === "accepted";
  const shown = slide?.error || !slide?.width ? null : slide;
  const path = `/v1/jobs/${id}/${growing ? "partial" : "results"}`;
  return { job, slide: shown, table: tiles ?? emptyTable(shown), path, growing };
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
