/**
 * Marks a box of the slide, until the slide is pressed.
 * @module
 */

import { svg } from "./pointer-tool.js";

/**
 * Return what marks a box of the slide.
 * @param {import("./stage.js").Stage} stage
 * @param {import("../lib/disposal.js").Disposal} disposal
 * @returns {(box: readonly number[]) => void}
 */
export function markOn(stage, disposal) {
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
  return (box) => {
    marked = box;
    layer.append(shape);
    draw();
  };
}
