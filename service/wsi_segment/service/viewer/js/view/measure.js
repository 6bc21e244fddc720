/**
 * The measuring line: its length in µm or mm, from the pixel size of the slide. By pointer, or by keys alone: the line
 * starts in the middle of the view, and its other end stays there while the slide is moved. A pointer drags the line, or
 * clicks one end and then the other.
 * @module
 */

import { bindKeys } from "../app/keys.js";
import { iconButton } from "../lib/dom.js";
import { length } from "../lib/format.js";
import { createPointerTool, svg } from "./pointer-tool.js";

/** @typedef {import("./pointer-tool.js").Point} Point */

/** CSS pixels that a press has to move to be a drag. */
const DRAG = 6;

/** @type {import("./page.js").Feature} */
export function measure({ pane, toolbar, disposal }) {
  const { stage } = pane;
  const { mpp_x, mpp_y } = pane.result.table;
  /** @type {{from: Point, to: Point}|null} */
  let line = null;
  let dragging = false;
  let clicked = false; // one end; the other comes with the next click
  let following = false;
  const shadow = svg("line", { class: "measure-shadow" });
  const stroke = svg("line", { class: "measure-line" });
  const text = svg("text", { class: "measure-text", "text-anchor": "middle" });
  const tool = createPointerTool(stage, {
    down(point) {
      line = { from: line && clicked ? line.from : point, to: point };
      dragging = true;
      following = false;
      draw();
    },
    move(point) {
      if (!line || !(dragging || clicked)) return;
      line = { ...line, to: point };
      draw();
    },
    up() {
      dragging = false;
      clicked = line !== null && !long(line);
      if (!clicked) tool.understood();
    },
    cancel() {
      line = null;
      dragging = clicked = false;
      draw();
    },
    hint: "Drag a line, or click both ends. Esc, or the ruler again, ends measuring.",
    draw: () => draw(),
  });
  tool.drawing.append(shadow, stroke, text);
  disposal.add(tool.dispose);

  const draw = () => {
    if (line && following) line = { ...line, to: middle() };
    tool.drawing.classList.toggle("empty", line === null);
    tool.drawing.dataset["um"] = line ? String(distance(line)) : "";
    if (!line) return;
    const from = stage.toScreen(line.from);
    const to = stage.toScreen(line.to);
    for (const element of [shadow, stroke]) {
      element.setAttribute("x1", String(from.x));
      element.setAttribute("y1", String(from.y));
      element.setAttribute("x2", String(to.x));
      element.setAttribute("y2", String(to.y));
    }
    text.setAttribute("x", String((from.x + to.x) / 2));
    text.setAttribute("y", String((from.y + to.y) / 2 - 8));
    text.textContent = long(line) || following ? length(distance(line)) : "";
  };
  /** @param {{from: Point, to: Point}} line */
  const distance = ({ from, to }) => Math.hypot((to.x - from.x) * mpp_x, (to.y - from.y) * mpp_y);
  /** @param {{from: Point, to: Point}} line */
  const long = ({ from, to }) => Math.hypot(to.x - from.x, to.y - from.y) > DRAG * stage.place().scale;
  const middle = () => {
    const place = stage.place();
    return { x: place.x0 + place.width / 2, y: place.y0 + place.height / 2 };
  };
  const set = (/** @type {boolean} */ on) => {
    if (on) tool.start();
    else tool.stop();
    clicked = false;
    following = false;
    toggle.setAttribute("aria-pressed", String(on));
  };
  const toggle = iconButton("ruler", () => {
    set(!tool.active());
    if (!tool.active()) line = null;
    draw();
  }, { name: "Measure", title: "Measure a distance (d): drag a line, or click both ends", pressed: false });
  toolbar.append(toggle);
  disposal.add(bindKeys([
    { key: "d", does: "measure from the middle of the view: move, then Enter; or drag a line", action: () => {
      set(true);
      stage.focus();
      line = { from: middle(), to: middle() };
      following = true;
      draw();
    } },
    { key: "Enter", does: "", hidden: true, action: () => {
      if (following) tool.understood();
      following = false;
      draw();
    } },
    { key: "Escape", shown: "Esc", does: "end measuring", action: () => { set(false); line = null; draw(); } },
  ]));
  draw();
}
