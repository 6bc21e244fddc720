/**
 * One class as a map of its probability, with a threshold below which nothing is shown.
 * @module
 */

import { listen } from "../lib/disposal.js";
import { field, fill, h } from "../lib/dom.js";
import { css, perceptual } from "./palettes.js";

/** @type {import("./page.js").Feature} */
export function probability({ pane, disposal, addPanel }) {
  const { state } = pane;
  const select = h("select", { id: "probability-class", on: {
    change: () => state.set({ probability: select.value ? Number(select.value) : null }),
  } });
  const threshold = h("input", { id: "probability-threshold", attributes: { type: "range", min: 0, max: 100, step: 1 }, on: {
    input: () => state.set({ threshold: Number(threshold.value) / 100 }),
  } });
  const value = h("output", { attributes: { for: threshold.id } });
  const ramp = h("div", { class: "ramp", attributes: { role: "img", "aria-label": "Colours from probability 0, dark blue, to 1, yellow" } });
  for (let step = 0; step < 32; step += 1) {
    const part = h("span");
    part.style.background = css(perceptual(step / 31));
    ramp.append(part);
  }
  const content = h("div", { class: "controls" }, field("Show the probability of", select), field("Only from", threshold), value, ramp,
    h("div", { class: "ramp-labels" }, h("span", { text: "0 %" }), h("span", { text: "100 %" })));
  const panel = addPanel("Probability", content, { name: "probability", open: state.get().probability !== null });
  const fillClasses = () => {
    panel.hidden = !pane.result.table.probabilities;
    fill(select, h("option", { text: "– (show the classes)", attributes: { value: "" } }),
      pane.result.table.classes.filter((entry) => entry.id > 0).map((entry) => h("option", { text: entry.name, attributes: { value: entry.id } })));
    draw();
  };
  const draw = () => {
    const now = state.get();
    select.value = now.probability === null ? "" : String(now.probability);
    threshold.value = String(Math.round(100 * now.threshold));
    threshold.disabled = now.probability === null;
    threshold.setAttribute("aria-valuetext", `${threshold.value} %`);
    value.textContent = `${threshold.value} %`;
  };
  fillClasses();
  disposal.add(state.subscribe(draw));
  listen(disposal, pane.element, "result-replaced", fillClasses);
}
