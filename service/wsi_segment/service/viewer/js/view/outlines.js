/**
 * The outlines of the mask as a table, the largest first; a click flies there and marks the place.
 * @module
 */

import { showError } from "../app/notices.js";
import { listen } from "../lib/disposal.js";
import { button, fill, h } from "../lib/dom.js";
import { area, count } from "../lib/format.js";
import { get, server } from "../server/api.js";
import { markOn } from "./mark.js";
import { css } from "./palettes.js";

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
  let loading = new AbortController();
  const mark = markOn(pane.stage, disposal);

  /** @param {string} token */
  const load = async (token) => {
    const query = new URLSearchParams({ page_size: String(PAGE), page_token: token });
    if (which.value) query.set("class_id", which.value);
    loading.abort(); // another class was chosen meanwhile
    loading = new AbortController();
    const { signal } = loading;
    more.disabled = true;
    if (!token) loaded = false;
    try {
      const page = /** @type {{outlines: Outline[], total: number, next_page_token: string}} */ (
        await get(`/v1/jobs/${pane.result.job.id}/results/outlines.json?${query}`, signal));
      if (!token) fill(body);
      body.append(...page.outlines.map(row));
      next = page.next_page_token;
      more.hidden = next === "";
      note.textContent = `${count(page.total)} outlines, the largest first`;
      loaded = true;
    } catch (error) {
      if (!token && !signal.aborted) { // what is there is of another class
        fill(body);
        note.textContent = "";
        more.hidden = true;
      }
      showError(error);
    }
    if (!signal.aborted) more.disabled = false;
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
  const first = () => {
    if (panel.open && !loaded && !pane.result.growing) void load("");
  };
  listen(disposal, panel, "toggle", first);
  listen(disposal, server, "back", first);
  disposal.add(() => loading.abort());
}
