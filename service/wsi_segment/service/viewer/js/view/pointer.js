/**
 * What is under the pointer: class or probability, and where. Without a pointer, while the slide has the focus, what is in
 * the middle of the view: for keys and screen readers.
 * @module
 */

import { debounced, listen } from "../lib/disposal.js";
import { h } from "../lib/dom.js";
import { count, percent } from "../lib/format.js";
import { css } from "./palettes.js";

const QUIET_MILLISECONDS = 300;

/** @type {import("./page.js").Feature} */
export function pointerReadout({ pane, overlay, disposal }) {
  const swatch = h("span", { class: "swatch" });
  const text = h("span", { class: "pointer-text" });
  const element = h("div", { class: "pointer", attributes: { hidden: true } }, swatch, text);
  overlay.append(element);
  const area = pane.stage.element;
  /** @type {{x: number, y: number}|null} */
  let pointer = null;
  const show = () => {
    const middle = pointer === null;
    element.hidden = middle && !area.contains(document.activeElement);
    if (element.hidden) return;
    element.setAttribute("aria-live", middle ? "polite" : "off"); // a pointer would have it read all the time
    const place = pane.stage.toSlide(pointer ?? { x: area.clientWidth / 2, y: area.clientHeight / 2 });
    const { probability, visible } = pane.state.get();
    const value = visible ? pane.layer.valueAt(place.x, place.y) : null;
    const named = pane.classes().find((entry) => entry.id === (probability ?? value));
    const what = value === null || !named ? "" : probability === null ? named.name : `${named.name} ${percent(value / 255)}`;
    element.dataset["value"] = value === null ? "" : String(value);
    swatch.hidden = what === "" || value === 0;
    if (named) swatch.style.background = css(named.color);
    text.textContent = `${middle ? "Middle: " : ""}${what}${what ? " · " : ""}${count(place.x)}, ${count(place.y)} px`;
  };
  listen(disposal, area, "pointermove", (/** @type {PointerEvent} */ event) => {
    const frame = area.getBoundingClientRect();
    pointer = { x: event.clientX - frame.left, y: event.clientY - frame.top };
    show();
  });
  listen(disposal, area, "pointerleave", () => {
    pointer = null;
    show();
  });
  const later = debounced(QUIET_MILLISECONDS, show); // where a view comes to rest, not all that it passes
  disposal.add(later.cancel);
  listen(disposal, pane.layer, "drawn", () => (pointer ? show() : later()));
  for (const name of ["focusin", "focusout"]) listen(disposal, area, name, later);
}
