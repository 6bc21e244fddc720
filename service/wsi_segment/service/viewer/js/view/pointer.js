/**
 * What is under the pointer, or without one in the middle of the view: class or probability, and where.
 * @module
 */

import { listen } from "../lib/disposal.js";
import { h } from "../lib/dom.js";
import { count, percent } from "../lib/format.js";
import { css } from "./palettes.js";

/** @type {import("./page.js").Feature} */
export function pointerReadout({ pane, overlay, disposal }) {
  const swatch = h("span", { class: "swatch" });
  const text = h("span", { class: "pointer-text" });
  const element = h("div", { class: "pointer", attributes: { hidden: true } }, swatch, text);
  overlay.append(element);
  /** @type {{x: number, y: number}|null} */
  let pointer = null;
  const show = () => {
    element.hidden = pointer === null;
    if (pointer === null) return;
    const place = pane.stage.toSlide(pointer);
    const { probability, visible } = pane.state.get();
    const value = visible ? pane.layer.valueAt(place.x, place.y) : null;
    const named = pane.classes().find((entry) => entry.id === (probability ?? value));
    const what = value === null || !named ? "" : probability === null ? named.name : `${named.name} ${percent(value / 255)}`;
    element.dataset["value"] = value === null ? "" : String(value);
    swatch.hidden = what === "" || value === 0;
    if (named) swatch.style.background = css(named.color);
    text.textContent = `${what}${what ? " · " : ""}${count(place.x)}, ${count(place.y)} px`;
  };
  const area = pane.stage.element;
  listen(disposal, area, "pointermove", (/** @type {PointerEvent} */ event) => {
    const frame = area.getBoundingClientRect();
    pointer = { x: event.clientX - frame.left, y: event.clientY - frame.top };
    show();
  });
  listen(disposal, area, "pointerleave", () => {
    pointer = null;
    show();
  });
  listen(disposal, pane.layer, "drawn", show);
}
