/**
 * The curtain: one pane over the other, cut off at a line that can be dragged, or moved by keys.
 * @module
 */

import { h } from "../lib/dom.js";

/**
 * @typedef {object} Curtain
 * @property {() => number} share of the width that the lower pane shows, 0 to 1
 * @property {(share: number) => void} set
 * @property {(on: boolean) => void} show
 */

/**
 * Make a curtain.
 * @param {HTMLElement} place that holds both panes
 * @param {HTMLElement} upper pane
 * @param {() => void} changed
 * @returns {Curtain}
 */
export function createCurtain(place, upper, changed) {
  let share = 0.5;
  let shown = false;
  const line = h("div", { class: "curtain", attributes: { role: "slider", tabindex: 0, "aria-label": "Curtain", "aria-valuemin": 0, "aria-valuemax": 100, "aria-orientation": "horizontal" } });
  place.append(line);
  const draw = () => {
    line.hidden = !shown;
    line.style.left = `${100 * share}%`;
    line.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    line.setAttribute("aria-valuetext", `${Math.round(100 * share)} % result A`);
    upper.style.clipPath = shown ? `inset(0 0 0 ${100 * share}%)` : "";
  };
  const set = (/** @type {number} */ next) => {
    share = Math.min(1, Math.max(0, next));
    draw();
    changed();
  };
  line.addEventListener("pointerdown", (event) => line.setPointerCapture(event.pointerId));
  line.addEventListener("pointermove", (event) => {
    if (!line.hasPointerCapture(event.pointerId)) return;
    const frame = place.getBoundingClientRect();
    set((event.clientX - frame.left) / frame.width);
  });
  line.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.05, ArrowRight: 0.05, Home: -1, End: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    set(share + step);
  });
  draw();
  return {
    share: () => share,
    set,
    show(on) {
      shown = on;
      draw();
    },
  };
}
