/**
 * The legend: each class with its colour, its area and its share of the tissue, on the whole slide and on the screen.
 * @module
 */

import { listen } from "../lib/disposal.js";
import { button, fill, h, refill } from "../lib/dom.js";
import { area, percent } from "../lib/format.js";
import { toggleClass } from "./keys.js";
import { css } from "./palettes.js";
import { watchVisible } from "./visible-areas.js";

/** @typedef {import("../server/types.js").TileTable} TileTable */

/**
 * Return mm² per pixel of the finest level of a mask.
 * @param {TileTable} table
 */
export function mm2PerPixel(table) {
  const downsample = table.levels[0]?.downsample ?? 1;
  return (table.mpp_x * table.mpp_y * downsample ** 2) / 1e6;
}

/** @type {import("./page.js").Feature} */
export function legend({ pane, disposal, addPanel }) {
  const body = h("tbody");
  const total = h("p", { class: "hint" });
  const { state } = pane;
  /** @type {number[]|null} */
  let seen = null;
  const draw = () => {
    const { table } = pane.result;
    const classes = pane.classes().filter((entry) => entry.id > 0);
    refill(body, classes.map((entry) => {
      const on = !state.get().hidden.has(entry.id);
      const swatch = h("span", { class: "swatch" });
      swatch.style.background = css(entry.color);
      const title = entry.id < 10 ? `Switch on or off (${entry.id})` : "Switch on or off";
      const toggle = button("", () => toggleClass(state, entry.id), { class: "class", pressed: on, data: { class: String(entry.id) }, title });
      toggle.append(swatch, h("span", { text: entry.name }));
      return h("tr", { class: on ? "" : "off", data: { row: String(entry.id) } },
        h("th", { attributes: { scope: "row" } }, toggle), h("td"), h("td"));
    }));
    write(table, classes);
  };
  const mark = () => {
    for (const toggle of /** @type {NodeListOf<HTMLElement>} */ (body.querySelectorAll("[data-class]"))) {
      const on = !state.get().hidden.has(Number(toggle.dataset["class"]));
      toggle.setAttribute("aria-pressed", String(on));
      toggle.closest("tr")?.classList.toggle("off", !on);
    }
  };
  /**
   * @param {TileTable} table
   * @param {import("../server/types.js").MaskClass[]} classes
   */
  const write = (table, classes) => {
    const each = mm2PerPixel(table);
    const tissue = classes.reduce((sum, entry) => sum + entry.pixels, 0);
    const here = seen ? classes.reduce((sum, entry) => sum + (seen?.[entry.id] ?? 0), 0) : 0;
    for (const entry of classes) {
      const [whole, shown] = body.querySelectorAll(`[data-row="${entry.id}"] td`);
      if (!whole || !shown) continue;
      const cell = (/** @type {number} */ pixels, /** @type {number} */ of) =>
        (of ? [percent(pixels / of), h("small", { text: area(pixels * each) })] : ["–"]);
      fill(whole, cell(entry.pixels, tissue));
      fill(shown, cell(seen?.[entry.id] ?? 0, here));
    }
    const parts = tissue ? [`Tissue: ${area(tissue * each)}`] : ["Areas are known when the job gets further."];
    if (seen && tissue) parts.push(`on the screen: ${area(here * each)}`);
    total.textContent = parts.join(" · ");
  };
  disposal.add(state.subscribe((now, before) => {
    if (now.palette !== before.palette) draw();
    else if (now.hidden !== before.hidden) mark();
  }));
  listen(disposal, pane.element, "result-replaced", draw);
  watchVisible(pane, disposal, (counts) => {
    seen = counts;
    write(pane.result.table, pane.classes().filter((entry) => entry.id > 0));
  });
  const head = h("thead", {}, h("tr", {}, ["Class", "On the slide", "On the screen"].map((text) => h("th", { text, attributes: { scope: "col" } }))));
  const hint = h("p", { class: "hint", text: "Shares are of the tissue. Click a class to hide it, or to show it again." });
  const content = h("div", {}, h("table", { class: "legend", data: { legend: "classes" } }, head, body), total, hint);
  draw();
  addPanel("Classes", content, { open: true, name: "classes" });
}
