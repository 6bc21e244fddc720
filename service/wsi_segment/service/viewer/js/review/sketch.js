/**
 * Draws new outlines: freehand by dragging, corner by corner by clicking, or by keys with corners in the middle of the view.
 * @module
 */

import { createPointerTool, svg } from "../view/pointer-tool.js";
import { ringOf } from "./shapes.js";

/** @typedef {import("../view/pointer-tool.js").Point} Point */

/** CSS pixels that a press has to move to draw freehand. */
const DRAG = 6;
/** CSS pixels between points of a freehand line, and by which a drawn line may be simplified. */
const STEP = 2;
const TOLERANCE = 0.75;

/**
 * @typedef {object} Sketch
 * @property {() => boolean} active
 * @property {() => void} start
 * @property {() => void} stop and forget what is drawn
 * @property {() => void} corner put one in the middle of the view
 * @property {() => void} back take the last corner away
 * @property {() => void} finish
 * @property {() => void} dispose
 */

/**
 * Make the tool.
 * @param {import("../view/stage.js").Stage} stage
 * @param {(ring: number[][]|null) => void} done called with a closed ring in level-0 pixels; null where nothing is enclosed
 * @returns {Sketch}
 */
export function createSketch(stage, done) {
  /** @type {Point[]} */
  let points = [];
  /** @type {Point|null} */
  let pressed = null;
  let freehand = false;
  /** @type {Point|null} */
  let hover = null;
  const shadow = svg("polygon", { class: "sketch-shadow" });
  const shape = svg("polygon", { class: "sketch" });
  const cross = svg("path", { class: "sketch-cross", d: "M-9 0H9M0-9V9" });
  const corners = svg("g", { class: "sketch-corners" });
  const tool = createPointerTool(stage, {
    down(point) {
      pressed = point;
      freehand = false;
      hover = null;
    },
    move(point) {
      const { scale } = stage.place();
      if (pressed && !freehand && points.length === 0 && far(pressed, point) > DRAG * scale) {
        freehand = true;
        points = [pressed];
      }
      const last = points.at(-1);
      if (freehand && last && far(last, point) > STEP * scale) points.push(point);
      hover = pressed ? null : point;
      draw();
    },
    up(point) {
      if (freehand) finish();
      else if (pressed) add(point);
      pressed = null;
      draw();
    },
    cancel() {
      if (freehand) points = [];
      pressed = hover = null;
      freehand = false;
      draw();
    },
    doubleClick: () => finish(),
    hint: "Drag around the outline, or click corners, the last one twice. Esc ends drawing.",
    draw: () => draw(),
  });
  tool.drawing.append(shadow, shape, corners, cross);

  /** @param {Point} point */
  const add = (point) => {
    const last = points.at(-1);
    if (!last || far(last, point) > stage.place().scale) points = [...points, point]; // the second click of two is no corner
    draw();
  };
  /** @param {import("../view/stage.js").Place} place */
  const middleOf = (place) => ({ x: place.x0 + place.width / 2, y: place.y0 + place.height / 2 });
  const draw = () => {
    const shown = tool.active() && hover && !freehand && points.length > 0 ? [...points, hover] : points;
    const text = shown.map((one) => stage.toScreen(one)).map((one) => `${one.x},${one.y}`).join(" ");
    for (const one of [shadow, shape]) one.setAttribute("points", text);
    corners.replaceChildren(...(freehand ? [] : points.map((one) => stage.toScreen(one)).map((one) => svg("circle", { cx: one.x, cy: one.y, r: 4 }))));
    const at = stage.toScreen(middleOf(stage.place()));
    cross.setAttribute("transform", `translate(${at.x} ${at.y})`);
    tool.drawing.classList.toggle("empty", !tool.active());
  };
  const finish = () => {
    if (points.length === 0) return;
    const ring = ringOf(points, TOLERANCE * stage.place().scale, stage.size);
    clear();
    done(ring);
  };
  const clear = () => {
    points = [];
    pressed = null;
    freehand = false;
    hover = null;
    draw();
  };
  draw();
  return {
    active: tool.active,
    start() {
      tool.start();
      stage.focus();
      draw();
    },
    stop() {
      tool.stop();
      clear();
    },
    corner: () => add(middleOf(stage.target())), // keys may come faster than the view glides
    back() {
      points = points.slice(0, -1);
      draw();
    },
    finish,
    dispose: tool.dispose,
  };
}

/** @param {Point} a @param {Point} b */
function far(a, b) {
  return Math.hypot(a.x - b.x, a.y - b.y);
}
