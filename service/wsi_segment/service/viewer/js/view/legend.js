/**
 * The legend: each class with its colour, its area on the whole slide and its share of the tissue; a click switches it.
 * @module
 */

import { listen } from "../lib/disposal.js";
import { h, fill, button } from "../lib/dom.js";
import { area, percent } from "../lib/format.js";
import { toggleClass } from "./keys.js";
import { css } from "./palettes.js";

/** @typedef {import("../server/types.js").TileTable} TileTable */

/**
 * Return µm² per pixel of the finest level of a mask, in mm².
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
  const draw = () => {
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["class"] : undefined;
    const { table } = pane.result;
    const classes = pane.classes().filter((entry) => entry.id > 0);
    const tissue = classes.reduce((sum, entry) => sum + entry.pixels, 0);
    const each = mm2PerPixel(table);
    fill(body, classes.map((entry) => {
      const on = !state.get().hidden.has(entry.id);
      const swatch = h("span", { class: "swatch" });
      swatch.style.background = css(entry.color);
      const toggle = button("", () => toggleClass(state, entry.id), { class: "class", pressed: on, data: { class: String(entry.id) }, title: entry.id < 10 ? `Switch on or off (${entry.id})` : "Switch on or off" });
      toggle.append(swatch, h("span", { text: entry.name }));
      return h("tr", { class: on ? "" : "off" },
        h("th", { attributes: { scope: "row" } }, toggle),
        h("td", { text: tissue ? area(entry.pixels * each) : "–" }),
        h("td", { text: tissue ? percent(entry.pixels / tissue) : "–" }),
      );
    }));
    total.textContent = tissue ? `Tissue: ${area(tissue * each)}` : "Areas are known when the job has ended.";
    if (focused) /** @type {HTMLElement|null} */ (body.querySelector(`[data-class="${focused}"]`))?.focus();
  };
  disposal.add(state.subscribe((now, before) => {
    if (now.hidden !== before.hidden || now.palette !== before.palette) draw();
  }));
  listen(disposal, pane.element, "result-replaced", draw);
  const head = h("thead", {}, h("tr", {}, ["Class", "Area", "Tissue"].map((text) => h("th", { text, attributes: { scope: "col" } }))));
  const content = h("div", {}, h("table", { class: "legend" }, head, body), total);
  draw();
  addPanel("Classes", content, { open: true, name: "classes" });
}
