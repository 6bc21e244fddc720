/**
 * Areas of the classes on the part of the slide that the screen shows, counted from the tiles that are there.
 * @module
 */

import { debounced, listen } from "../lib/disposal.js";

/** @typedef {import("./pane.js").Pane} Pane */

const QUIET_MILLISECONDS = 150;

/**
 * Count the mask pixels of each class on the screen, in pixels of the finest level.
 * @param {Pane} pane
 * @returns {number[]|null} by class id; null where tiles are missing, or something else than classes is shown
 */
export function countVisible({ stage, layer, state, result }) {
  if (state.get().probability !== null || !state.get().visible) return null;
  const { table } = result;
  const place = stage.place();
  const [left = 0, top = 0] = table.origin;
  const counts = /** @type {number[]} */ (new Array(256).fill(0));
  for (const one of layer.visibleTiles()) {
    const tile = layer.cache.peek(one.z, one.x, one.y);
    if (!tile) {
      if (layer.cache.get(one.z, one.x, one.y) === null) continue;
      return null;
    }
    const { downsample } = /** @type {{downsample: number}} */ (table.levels[one.z]);
    const column = (/** @type {number} */ x) => Math.round((x - left) / downsample) - one.x * table.tile_size;
    const row = (/** @type {number} */ y) => Math.round((y - top) / downsample) - one.y * table.tile_size;
    const x0 = Math.max(0, column(Math.max(0, place.x0)));
    const x1 = Math.min(tile.width, column(Math.min(table.slide_width, place.x0 + place.width)));
    const y0 = Math.max(0, row(Math.max(0, place.y0)));
    const y1 = Math.min(tile.height, row(Math.min(table.slide_height, place.y0 + place.height)));
    const each = 4 ** one.z;
    for (let y = y0; y < y1; y += 1) {
      for (let i = y * tile.width + x0; i < y * tile.width + x1; i += 1) {
        const id = /** @type {number} */ (tile.values[i]);
        counts[id] = /** @type {number} */ (counts[id]) + each;
      }
    }
  }
  return counts;
}

/**
 * Call something with the counts when the view has come to rest.
 * @param {Pane} pane
 * @param {import("../lib/disposal.js").Disposal} disposal
 * @param {(counts: number[]|null) => void} listener
 */
export function watchVisible(pane, disposal, listener) {
  const later = debounced(QUIET_MILLISECONDS, () => listener(countVisible(pane)));
  disposal.add(later.cancel);
  listen(disposal, pane.layer, "drawn", later);
  later(); // all may be drawn by now
}
