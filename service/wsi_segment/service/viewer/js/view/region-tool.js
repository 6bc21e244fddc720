/**
 * Draws the region that a job is limited to: a rectangle by dragging, or corner by corner; or what the screen shows.
 * @module
 */

import { bindKeys } from "../app/keys.js";
import { button, fill, h, iconButton } from "../lib/dom.js";
import { count, length } from "../lib/format.js";
import { createPointerTool, svg } from "./pointer-tool.js";

/** @typedef {import("./pointer-tool.js").Point} Point */
/** @typedef {{type: "Polygon", coordinates: number[][][]}} Polygon */

/** CSS pixels that a press has to move to be a drag. */
const DRAG = 6;

/**
 * Add the tool to a page with a stage.
 * @param {{toolbar: HTMLElement, stage: import("./stage.js").Stage, disposal: import("../lib/disposal.js").Disposal}} place
 * @param {{mpp_x: number|null, mpp_y: number|null}} slide whose pixel sizes say how large a region is
 * @returns {{get: () => Polygon|null, summary: HTMLElement}} the region in level-0 pixels
 */
export function installRegionTool({ toolbar, stage, disposal }, { mpp_x, mpp_y }) {
  /** @type {Point[]} */
  let corners = [];
  let closed = false;
  /** Those that were there before the pointer was pressed. @type {Point[]} */
  let before = [];
  /** @type {Point|null} */
  let start = null;
  /** @type {Point|null} */
  let hover = null;
  const summary = h("div", { class: "region-summary" });
  const shape = svg("polygon", { class: "region" });
  const tool = createPointerTool(stage, {
    down(point) {
      start = point;
      before = corners;
    },
    move(point) {
      hover = point;
      if (start && far(start, point)) corners = rectangle(start, point);
      draw();
    },
    up(point) {
      if (start && far(start, point)) {
        corners = rectangle(start, point);
        finish();
      } else if (start) {
        if (closed) corners = [];
        closed = false;
        const last = corners.at(-1);
        if (!last || far(last, point)) corners = [...corners, point]; // the second click of two is no corner
      }
      start = null;
      draw();
    },
    cancel() {
      corners = before;
      start = hover = null;
      draw();
    },
    doubleClick: () => finish(),
    hint: "Drag a rectangle, or click corners, the last one twice. Esc ends drawing.",
    draw: () => draw(),
  });
  tool.drawing.append(shape);
  disposal.add(tool.dispose);
  const toggle = iconButton("region", () => (tool.active() ? stop() : begin()), { name: "Draw a region", title: "Draw a region (r): drag a rectangle, or click corners, the last one twice", pressed: false });
  toolbar.append(toggle);

  const draw = () => {
    const open = !closed && hover && !start && corners.length > 0 ? [...corners, hover] : corners;
    shape.setAttribute("points", open.map((one) => stage.toScreen(one)).map((one) => `${one.x},${one.y}`).join(" "));
  };
  const describe = () => {
    if (!closed) {
      fill(summary, h("p", { class: "hint", text: "The whole slide is segmented, unless you draw a region." }),
        button("Use what the screen shows as the region", useScreen, { title: "Segment no more than that (v)" }));
      return;
    }
    const xs = corners.map((one) => one.x);
    const ys = corners.map((one) => one.y);
    const [width, height] = [Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)];
    const size = mpp_x && mpp_y ? ` (${length(width * mpp_x)} × ${length(height * mpp_y)})` : "";
    fill(summary, h("p", {}, "Region: ", h("strong", { text: `${count(width)} × ${count(height)} px` }), size), button("Remove the region", clear, { title: "Segment the whole slide again (Esc)" }));
  };
  const begin = () => {
    clear();
    tool.start();
    stage.focus();
    toggle.setAttribute("aria-pressed", "true");
  };
  const stop = () => {
    tool.stop();
    toggle.setAttribute("aria-pressed", "false");
  };
  const finish = () => {
    if (corners.length < 3) return;
    corners = corners.map((one) => ({ x: clamp(one.x, stage.size.width), y: clamp(one.y, stage.size.height) }));
    closed = true;
    stop();
    describe();
    draw();
  };
  const clear = () => {
    corners = [];
    closed = false;
    start = null;
    stop();
    describe();
    draw();
  };
  const useScreen = () => {
    const place = stage.target();
    corners = rectangle({ x: place.x0, y: place.y0 }, { x: place.x0 + place.width, y: place.y0 + place.height });
    finish();
  };
  disposal.add(bindKeys([
    { key: "r", does: "draw a region: drag, or click corners, the last one twice or Enter", action: begin },
    { key: "v", does: "take what the screen shows as the region", action: useScreen },
    { key: "Enter", does: "end the region", hidden: true, action: finish },
    { key: "Escape", does: "remove the region", action: clear },
  ]));
  describe();

  /** @param {Point} a @param {Point} b */
  function far(a, b) {
    return Math.hypot(a.x - b.x, a.y - b.y) / stage.place().scale > DRAG;
  }
  return {
    summary,
    get: () => (closed ? { type: "Polygon", coordinates: [[...corners, /** @type {Point} */ (corners[0])].map((one) => [one.x, one.y])] } : null),
  };
}

/**
 * @param {Point} a
 * @param {Point} b
 * @returns {Point[]}
 */
function rectangle(a, b) {
  return [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }];
}

/** @param {number} value @param {number} most */
function clamp(value, most) {
  return Math.round(Math.min(most, Math.max(0, value)));
}
