/**
 * The outlines of the mask as a table, the largest first; a click flies there and marks the place.
 * @module
 */

import { showError } from "../app/notices.js";
import { listen } from "../lib/disposal.js";
import { button, fill, h } from "../lib/dom.js";
import { area, count } from "../lib/format.js";
import { get } from "../server/api.js";
import { css } from "./palettes.js";
import { svg } from "./pointer-tool.js";

/** @typedef {{class_id: number, area_um2: number, bbox: [number, number, number, number]}} Outline */

const PAGE = 20;

/** @type {import("./page.js").Feature} */
export function outlines({ pane, disposal, addPanel }) {
  const body = h("tbody");
  const note = h("p", { class: "hint", attributes: { role: "status" } });
  const which = h("select", { attributes: { "aria-label": "Outlines of" }, on: { change: () => void load("") } });
  const more = button("More", () => void load(next));
  more.hidden = true;
  let next = "";
  let loaded = false;
  const mark = markOn(pane.stage, disposal);

  /** @param {string} token */
  const load = async (token) => {
    const query = new URLSearchParams({ page_size: String(PAGE), page_token: token });
    if (which.value) query.set("class_id", which.value);
    more.disabled = true;
    try {
      const page = /** @type {{outlines: Outline[], total: number, next_page_token: string}} */ (
        await get(`/v1/jobs/${pane.result.job.id}/results/outlines.json?${query}`));
      if (!token) fill(body);
      body.append(...page.outlines.map(row));
      next = page.next_page_token;
      more.hidden = next === "";
      note.textContent = `${count(page.total)} outlines, the largest first`;
    } catch (error) {
      showError(error);
    }
    more.disabled = false;
  };
  /** @param {Outline} outline */
  const row = (outline) => {
    const entry = pane.classes().find((one) => one.id === outline.class_id);
    const swatch = h("span", { class: "swatch" });
    if (entry) swatch.style.background = css(entry.color);
    const fly = button("", () => {
      pane.stage.fit(outline.bbox);
      mark(outline.bbox);
    }, { class: "class", title: "Go there" });
    fly.append(swatch, h("span", { text: entry?.name ?? String(outline.class_id) }));
    return h("tr", {}, h("th", { attributes: { scope: "row" } }, fly), h("td", { text: area(outline.area_um2 / 1e6) }));
  };
  const content = h("div", { class: "controls" }, which, note, h("table", { class: "legend" },
    h("thead", {}, h("tr", {}, h("th", { text: "Class", attributes: { scope: "col" } }), h("th", { text: "Area", attributes: { scope: "col" } }))), body), more);
  const panel = addPanel("Outlines", content, { name: "outlines" });
  const begin = () => {
    panel.hidden = pane.result.growing;
    fill(which, h("option", { text: "all classes", attributes: { value: "" } }),
      pane.result.table.classes.filter((entry) => entry.id > 0).map((entry) => h("option", { text: entry.name, attributes: { value: entry.id } })));
  };
  begin();
  listen(disposal, pane.element, "result-replaced", begin);
  listen(disposal, panel, "toggle", () => {
    if (!panel.open || loaded || pane.result.growing) return;
    loaded = true;
    void load("");
  });
}

/**
 * Return what marks a box of the slide.
 * @param {import("./stage.js").Stage} stage
 * @param {import("../lib/disposal.js").Disposal} disposal
 * @returns {(box: readonly number[]) => void}
 */
function markOn(stage, disposal) {
  const layer = svg("svg", { class: "tool-layer", "aria-hidden": "true" });
  const shape = svg("rect", { class: "mark" });
  stage.element.append(layer);
  /** @type {readonly number[]|null} */
  let marked = null;
  const draw = () => {
    if (!marked) return;
    const [x0 = 0, y0 = 0, x1 = 0, y1 = 0] = marked;
    const from = stage.toScreen({ x: x0, y: y0 });
    const to = stage.toScreen({ x: x1, y: y1 });
    for (const [name, value] of Object.entries({ x: from.x, y: from.y, width: to.x - from.x, height: to.y - from.y })) shape.setAttribute(name, String(value));
  };
  disposal.add(stage.onDraw(draw));
  return (box) => {
    marked = box;
    layer.append(shape);
    draw();
  };
}
