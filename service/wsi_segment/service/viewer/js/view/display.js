/**
 * How the mask is shown: on or off, how opaque, filled or outlined, in which colours.
 * @module
 */

import { h, field } from "../lib/dom.js";

/** @type {import("./page.js").Feature} */
export function display({ pane, disposal, addPanel }) {
  const { state } = pane;
  const visible = checkbox("mask-visible", () => state.set({ visible: visible.checked }));
  const outline = checkbox("mask-outline", () => state.set({ outline: outline.checked }));
  const safe = checkbox("mask-safe", () => state.set({ palette: safe.checked ? "safe" : "model" }));
  const opacity = h("input", {
    id: "mask-opacity",
    attributes: { type: "range", min: 0, max: 100, step: 5 },
    on: { input: () => state.set({ opacity: Number(opacity.value) / 100 }) },
  });
  const draw = () => {
    const now = state.get();
    visible.checked = now.visible;
    outline.checked = now.outline;
    safe.checked = now.palette === "safe";
    opacity.value = String(Math.round(100 * now.opacity));
    opacity.setAttribute("aria-valuetext", `${opacity.value} %`);
  };
  draw();
  disposal.add(state.subscribe(draw));
  const content = h(
    "div",
    { class: "controls" },
    tick(visible, "Show the mask", "m"),
    tick(outline, "Outlines only", "o"),
    tick(safe, "Colours for colour-blind eyes"),
    field("Opacity", opacity),
  );
  addPanel("Display", content, { open: true, name: "display" });
}

/**
 * @param {string} id
 * @param {() => void} action
 */
function checkbox(id, action) {
  return h("input", { id, attributes: { type: "checkbox" }, on: { change: action } });
}

/**
 * @param {HTMLInputElement} box
 * @param {string} text
 * @param {string} [key]
 */
function tick(box, text, key) {
  return h("label", { class: "tick", attributes: { for: box.id } }, box, h("span", { text }), key ? h("kbd", { text: key }) : null);
}
