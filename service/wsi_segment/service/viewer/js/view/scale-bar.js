/**
 * The scale bar, and the magnification at which an objective would show the slide as large.
 * @module
 */

import { h } from "../lib/dom.js";
import { length, significant } from "../lib/format.js";

/** Pixels of the screen that the bar may be wide. */
const WIDEST = 140;
/** µm per pixel of a 10x objective with a usual camera: 10x stands for 1 µm. */
const UM_AT_ONE = 10;

/**
 * Return the longest round length that fits.
 * @param {number} perPixel µm per CSS pixel
 * @param {number} [widest] in CSS pixels
 * @returns {{um: number, pixels: number}}
 */
export function roundLength(perPixel, widest = WIDEST) {
  const most = perPixel * widest;
  const power = 10 ** Math.floor(Math.log10(most));
  const factor = [5, 2, 1].find((one) => one * power <= most) ?? 1;
  return { um: factor * power, pixels: (factor * power) / perPixel };
}

/**
 * Return the magnification as people name it.
 * @param {number} perPixel µm per CSS pixel
 */
export function magnification(perPixel) {
  return `${significant(UM_AT_ONE / perPixel, 2)}×`;
}

/** @type {import("./page.js").Feature} */
export function scaleBar({ pane, overlay, disposal }) {
  disposal.add(scaleBarOn(overlay, pane.stage, pane.result.table.mpp_x));
}

/**
 * Put a scale bar over a slide.
 * @param {HTMLElement} overlay
 * @param {import("./stage.js").Stage} stage
 * @param {number} mpp µm per level-0 pixel
 * @returns {() => void} what ends it
 */
export function scaleBarOn(overlay, stage, mpp) {
  const line = h("div", { class: "scale-line" });
  const text = h("span", { class: "scale-text" });
  const zoom = h("span", { class: "scale-zoom", attributes: { title: "magnification; 1 µm per pixel of the screen is 10×" } });
  overlay.append(h("div", { class: "scale-bar" }, h("div", { class: "scale-labels" }, text, zoom), line));
  let before = 0;
  const draw = () => {
    const perPixel = stage.place().scale * mpp;
    if (perPixel === before) return;
    before = perPixel;
    const { um, pixels } = roundLength(perPixel);
    line.style.width = `${pixels}px`;
    text.textContent = length(um);
    zoom.textContent = magnification(perPixel);
  };
  draw();
  return stage.onDraw(draw);
}
