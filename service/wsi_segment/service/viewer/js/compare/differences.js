/**
 * How much two results differ, in numbers: the share of tissue, and which class became which.
 * @module
 */

import { h, fill } from "../lib/dom.js";
import { area, percent } from "../lib/format.js";
import { listen } from "../lib/disposal.js";
import { get, server } from "../server/api.js";

/** @typedef {{compared_mm2: number, differing_mm2: number, only_one_mm2: number, downsample: number, pairs: {this: string, other: string, area_mm2: number}[]}} Differences */

const MOST = 20;

/**
 * Build the numbers; they come when the server has counted.
 * @param {string} first id of a job
 * @param {string} second
 * @param {number} finest downsample of the finest level of the first
 * @param {import("../lib/disposal.js").Disposal} disposal
 */
export function differencesTable(first, second, finest, disposal) {
  const element = h("div", { class: "controls" }, h("p", { class: "loading", text: "Comparing …" }));
  let counted = false;
  const load = async () => {
    try {
      show(element, /** @type {Differences} */ (await get(`/v1/jobs/${first}/results/differences.json?other=${second}`)), finest);
      counted = true;
    } catch (error) {
      fill(element, h("p", { class: "problem", text: error instanceof Error ? error.message : String(error) }));
    }
  };
  void load();
  listen(disposal, server, "back", () => { if (!counted) void load(); });
  return element;
}

/**
 * @param {HTMLElement} element
 * @param {Differences} found
 * @param {number} finest
 */
function show(element, found, finest) {
  const share = found.compared_mm2 > 0 ? found.differing_mm2 / found.compared_mm2 : 0;
  const parts = [`${area(found.differing_mm2)} of the ${area(found.compared_mm2)} where both have a class`];
  if (found.only_one_mm2 > 0) parts.push(`${area(found.only_one_mm2)} have a class in one of them only`);
  if (found.downsample > finest) parts.push(`counted on a level ${Math.round(found.downsample / finest)} times coarser than the finest`);
  fill(element, h("p", { data: { compare: "share" } }, h("strong", { text: percent(share) }), " of the tissue differs"),
    h("p", { class: "hint", text: parts.join("; ") }),
    found.pairs.length === 0 ? null : h("table", { class: "legend pairs" },
      h("thead", {}, h("tr", {}, ["A", "B", "Area"].map((text) => h("th", { text, attributes: { scope: "col" } })))),
      h("tbody", {}, found.pairs.slice(0, MOST).map((pair) => h("tr", {}, h("th", { text: pair.this, attributes: { scope: "row" } }), h("td", { class: "name", text: pair.other }), h("td", { text: area(pair.area_mm2) }))))));
}
