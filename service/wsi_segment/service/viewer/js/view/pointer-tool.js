/**
 * A tool that takes the pointer away from the slide while it is in use: for lines, regions, outlines.
 * @module
 */

import { h } from "../lib/dom.js";

/** @typedef {{x: number, y: number}} Point in level-0 pixels */

/**
 * @typedef {object} PointerTool
 * @property {SVGSVGElement} drawing over the slide, in CSS pixels; its content is the tool's
 * @property {() => boolean} active
 * @property {() => void} start
 * @property {() => void} stop
 * @property {() => void} understood takes the hint away: what it asks for was done
 * @property {() => void} dispose
 */

/**
 * @typedef {object} Handlers
 * @property {(point: Point, event: PointerEvent) => void} [down]
 * @property {(point: Point, event: PointerEvent) => void} [move]
 * @property {(point: Point, event: PointerEvent) => void} [up]
 * @property {() => void} [cancel] the press came to nothing: a second finger, or the system took the pointer away
 * @property {(point: Point, event: MouseEvent) => void} [doubleClick]
 * @property {string} hint what to do, shown over the slide until it is understood, or the tool stops
 * @property {() => void} draw called with every frame, so that what is drawn stays on its place of the slide
 */

/**
 * Make a tool over a stage; the wheel still zooms while it is in use.
 * @param {import("./stage.js").Stage} stage
 * @param {Handlers} handlers
 * @returns {PointerTool}
 */
export function createPointerTool(stage, handlers) {
  const drawing = svg("svg", { class: "tool-layer", "aria-hidden": "true" });
  const hint = h("p", { class: "tool-hint", attributes: { role: "status", hidden: true } });
  stage.element.append(drawing, hint);
  let active = false;
  /** @param {MouseEvent} event */
  const place = (event) => {
    const frame = stage.element.getBoundingClientRect();
    return stage.toSlide({ x: event.clientX - frame.left, y: event.clientY - frame.top });
  };
  /** Ids of pointers that press. @type {Set<number>} */
  const pressing = new Set();
  let cancelled = false; // until all fingers are off
  const cancel = () => {
    if (!cancelled) handlers.cancel?.();
    cancelled = pressing.size > 0;
  };
  drawing.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    drawing.setPointerCapture(event.pointerId);
    pressing.add(event.pointerId);
    if (pressing.size > 1) cancel();
    else handlers.down?.(place(event), event);
  });
  drawing.addEventListener("pointermove", (event) => {
    if (!cancelled) handlers.move?.(place(event), event);
  });
  drawing.addEventListener("pointerup", (event) => {
    if (!pressing.delete(event.pointerId)) return;
    if (!cancelled) handlers.up?.(place(event), event);
    cancelled &&= pressing.size > 0;
  });
  drawing.addEventListener("pointercancel", (event) => {
    if (pressing.delete(event.pointerId)) cancel();
  });
  drawing.addEventListener("dblclick", (event) => handlers.doubleClick?.(place(event), event));
  drawing.addEventListener("wheel", (event) => {
    event.preventDefault();
    stage.zoomBy(event.deltaY < 0 ? 1.25 : 0.8, place(event));
  }, { passive: false });
  const endDrawing = stage.onDraw(handlers.draw);
  const set = (/** @type {boolean} */ now) => {
    active = now;
    drawing.classList.toggle("active", now);
    hint.hidden = !now;
    hint.textContent = now ? handlers.hint : "";
  };
  return {
    drawing,
    active: () => active,
    start: () => set(true),
    stop: () => set(false),
    understood: () => { hint.hidden = true; },
    dispose() {
      endDrawing();
      drawing.remove();
      hint.remove();
    },
  };
}

/**
 * Build an element of a drawing.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string|number>} [attributes]
 * @param {string} [text]
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(tag, attributes = {}, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}
