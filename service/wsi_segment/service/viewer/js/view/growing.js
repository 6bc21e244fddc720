/**
 * A job that still runs: its progress over the legend, and its finished regions on the slide as they come.
 * @module
 */

import { notice, showError } from "../app/notices.js";
import { debounced } from "../lib/disposal.js";
import { h, refill } from "../lib/dom.js";
import { ApiError, send } from "../server/api.js";
import { hasEnded, trackJob } from "../server/track.js";
import { jobActions } from "../jobs/actions.js";
import { progressBar, progressText, statusBadge } from "../jobs/status.js";
import { readResult } from "./result.js";

/** @typedef {import("../server/track.js").Tracked} Tracked */

const LOOK_MILLISECONDS = 700;
const AGAIN_MILLISECONDS = 1500;

/** @type {import("./page.js").Feature} */
export function growing({ pane, disposal, side }) {
  if (!pane.result.growing) return;
  const id = pane.result.job.id;
  const box = h("section", { class: "side-part growing", attributes: { "aria-label": "Progress" } });
  side.append(box);
  let after = 0;
  let ended = false;
  let stop = () => {};

  const over = () => ended || disposal.disposed;
  const look = async () => {
    if (over()) return;
    if (pane.result.table.levels.length === 0) {
      const now = await readResult(id);
      if (over() || now.table.levels.length === 0) return;
      pane.replaceResult(now);
    }
    const answer = await send("GET", `/v1/jobs/${id}/partial/regions.json?after=${after}`);
    if (over() || answer.status !== 200) return;
    const found = /** @type {{regions: number[][], next: number, pixels: number[]}} */ (await answer.json());
    const anew = found.next < after;
    after = found.next;
    if (found.regions.length === 0 && !anew) return;
    const { table } = pane.result;
    pane.layer.cache.renew((tile) => anew || found.regions.some((region) => meets(region, tile, table.tile_size)));
    pane.replaceCounts(found.pixels);
    pane.layer.schedule();
  };
  const lookSoon = debounced(LOOK_MILLISECONDS, () => void look().catch(() => undefined));
  disposal.add(lookSoon.cancel);
  void look().catch(() => undefined);

  /** @param {Tracked} now */
  const show = (now) => {
    box.dataset["status"] = now.job.status;
    refill(box, h("p", {}, statusBadge(now.job)), hasEnded(now.job) ? null : progressBar(now.job), h("p", { text: progressText(now) }),
      h("p", { class: "actions" }, jobActions(now.job, track).filter((one) => one instanceof HTMLButtonElement)));
    if (now.job.status === "running") lookSoon();
    else if (now.job.status !== "accepted") void finish(now);
  };
  /** @param {Tracked} now */
  const finish = async (now) => {
    if (ended) return;
    ended = true;
    if (now.job.status === "dismissed") notice("The job was cancelled.");
    if (now.job.status === "failed") notice(`The job failed. ${progressText(now)}`.trim(), { kind: "error" });
    if (now.job.status === "successful") await complete();
  };
  const complete = async () => {
    try {
      const whole = await readResult(id);
      if (disposal.disposed) return;
      pane.replaceResult(whole);
      box.remove();
      notice("The job is done.");
    } catch (error) {
      if (disposal.disposed) return;
      if (error instanceof ApiError && error.lost) completeSoon(); // until the server is back
      else showError(error);
    }
  };
  const completeSoon = debounced(AGAIN_MILLISECONDS, () => void complete());
  disposal.add(completeSoon.cancel);
  const track = () => { // from the beginning, and again when the job is tried again
    stop();
    ended = false;
    stop = trackJob(id, show, (error) => notice(error.message, { kind: "error" }));
  };
  track();
  disposal.add(() => stop());
}

/**
 * Return whether a region of the finest level meets a tile of any.
 * @param {number[]} region x0, y0, x1, y1
 * @param {{z: number, x: number, y: number}} tile
 * @param {number} side
 */
function meets([x0 = 0, y0 = 0, x1 = 0, y1 = 0], tile, side) {
  const reach = side * 2 ** tile.z;
  return x0 < (tile.x + 1) * reach && x1 > tile.x * reach && y0 < (tile.y + 1) * reach && y1 > tile.y * reach;
}
