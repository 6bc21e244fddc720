/**
 * How a mask is looked at: what the panel sets, what the layer shows, and what a permalink holds.
 * @module
 */

import { createStore } from "../lib/store.js";

/**
 * @typedef {object} ViewState
 * @property {boolean} visible
 * @property {number} opacity 0 to 1
 * @property {boolean} outline
 * @property {"model"|"safe"} palette
 * @property {ReadonlySet<number>} hidden ids of classes that are switched off
 * @property {number|null} probability id of the class whose probability is shown instead of the classes
 * @property {number} threshold 0 to 1, below which a probability is not shown
 * @property {[number, number, number]|null} at x and y of the middle in level-0 pixels, and level-0 pixels per CSS pixel
 */

/** @typedef {import("../lib/store.js").Store<ViewState>} ViewStore */

/** @type {ViewState} */
export const FIRST = {
  visible: true,
  opacity: 0.5,
  outline: false,
  palette: "model",
  hidden: new Set(),
  probability: null,
  threshold: 0.5,
  at: null,
};

/**
 * Make the state of a view.
 * @param {URLSearchParams} query of the address
 * @returns {ViewStore}
 */
export function createViewState(query) {
  return createStore(parseView(query));
}

/**
 * Read a permalink; what is missing or wrong is as at the first look.
 * @param {URLSearchParams} query
 * @returns {ViewState}
 */
export function parseView(query) {
  const at = (query.get("at") ?? "").split(",").map(Number);
  const opacity = Number(query.get("opacity") ?? NaN);
  const threshold = Number(query.get("threshold") ?? NaN);
  const probability = Number(query.get("probability") ?? NaN);
  const hidden = (query.get("off") ?? "").split(",").filter(Boolean).map(Number).filter(Number.isInteger);
  const within = (/** @type {number} */ value) => value >= 0 && value <= 100;
  return {
    visible: query.get("mask") !== "off",
    opacity: within(opacity) ? opacity / 100 : FIRST.opacity,
    outline: query.get("draw") === "outline",
    palette: query.get("colors") === "safe" ? "safe" : "model",
    hidden: new Set(hidden),
    probability: Number.isInteger(probability) && probability > 0 ? probability : null,
    threshold: within(threshold) ? threshold / 100 : FIRST.threshold,
    at: at.length === 3 && at.every(Number.isFinite) && Number(at[2]) > 0 ? /** @type {[number, number, number]} */ (at) : null,
  };
}

/**
 * Keep links at the view that is shown: whoever follows one sees the same place in the same way.
 * @param {ViewStore} state
 * @param {import("../lib/disposal.js").Disposal} disposal
 * @param {() => Iterable<HTMLAnchorElement>} links whose addresses may have a query
 * @returns {() => void} does so at once
 */
export function keepLinksAt(state, disposal, links) {
  const renew = () => {
    for (const link of links()) {
      const [path = ""] = (link.getAttribute("href") ?? "").split("?", 1);
      const query = writeView(state.get());
      link.setAttribute("href", query ? `${path}?${query}` : path);
    }
  };
  disposal.add(state.subscribe(renew));
  renew();
  return renew;
}

/**
 * Write a permalink: only what is not as at the first look.
 * @param {ViewState} state
 * @returns {string}
 */
export function writeView(state) {
  /** @type {string[]} */
  const parts = [];
  if (state.at) parts.push(`at=${state.at.map((value, index) => Number(value.toFixed(index === 2 ? 5 : 1))).join(",")}`);
  if (!state.visible) parts.push("mask=off");
  if (state.opacity !== FIRST.opacity) parts.push(`opacity=${Math.round(100 * state.opacity)}`);
  if (state.outline) parts.push("draw=outline");
  if (state.palette !== FIRST.palette) parts.push(`colors=${state.palette}`);
  if (state.hidden.size > 0) parts.push(`off=${[...state.hidden].sort((a, b) => a - b).join(",")}`);
  if (state.probability !== null) parts.push(`probability=${state.probability}`);
  if (state.threshold !== FIRST.threshold) parts.push(`threshold=${Math.round(100 * state.threshold)}`);
  return parts.join("&");
}
