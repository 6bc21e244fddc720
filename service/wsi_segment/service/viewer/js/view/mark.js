/**
 * Marks a box of the slide, until the slide is pressed or another one is marked.
 * @module
 */

import { svg } from "./pointer-tool.js";

/** @typedef {(box: readonly number[]) => void} Mark */

/** @type {WeakMap<import("./stage.js").Stage, Mark>} */
const marks = new WeakMap();

/**
 * Return what marks a box of the slide; it is one for all that ask.
 * @param {import("./stage.js").Stage} stage
 * @param {import("../lib/disposal.js").Disposal} disposal
 * @returns {Mark}
 */
export function markOn(stage, disposal) {
  const known = marks.get(stage);
  if (known) return known;
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
  const forget = () => {
    marked = null;
    shape.remove();
  };
  stage.viewer.addHandler("canvas-press", forget);
  disposal.add(() => stage.viewer.removeHandler("canvas-press", forget));
  const mark = (/** @type {readonly number[]} */ box) => {
    marked = box;
    layer.append(shape);
    draw();
  };
  marks.set(stage, mark);
  return mark;
}
