/**
 * What a model says of itself: its classes, how good it was on what, and what it is not for.
 * @module
 */

import { h } from "../lib/dom.js";
import { significant } from "../lib/format.js";
import { css } from "../view/palettes.js";

/** @typedef {import("../server/types.js").Model & Record<string, any>} Model */

/** Of figures as cards have them: rounded already, they are not rounded a second time. */
const DIGITS = 4;

/**
 * Show a model's card.
 * @param {Model} model
 */
export function modelCard(model) {
  const text = (/** @type {string} */ name) => [model[name]].flat().filter((one) => typeof one === "string" && one !== "").join(" ");
  const scores = numbers(model["metrics"]?.test ?? model["metrics"]);
  return h("div", { class: "model-card", attributes: { tabindex: 0, role: "group", "aria-label": `Card of ${model.name}` } },
    h("p", { text: model.description }),
    h("ul", { class: "classes" }, model.classes.map((entry) => {
      const swatch = h("span", { class: "swatch" });
      swatch.style.background = css(entry.color);
      return h("li", {}, swatch, entry.name);
    })),
    h("p", { class: "hint", text: `Version ${model.version} · works at ${significant(model.mpp)} µm per pixel` }),
    scores.length > 0 ? h("p", { class: "hint", text: `On held-out data: ${scores.join(", ")}` }) : null,
    text("intended_use") ? h("p", {}, h("strong", { text: "Meant for: " }), text("intended_use")) : null,
    text("limitations") ? h("p", {}, h("strong", { text: "Limits: " }), text("limitations")) : null,
  );
}

/**
 * @param {any} metrics
 * @returns {string[]}
 */
function numbers(metrics) {
  if (typeof metrics !== "object" || metrics === null) return [];
  return Object.entries(metrics).filter(([, value]) => typeof value === "number").slice(0, 4)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${significant(/** @type {number} */ (value), DIGITS)}`);
}
