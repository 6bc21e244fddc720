/**
 * What is under the pointer: its class, its probability where they were kept, and where it is. Without a pointer, while
 * the slide has the focus, what is in the middle of the view: for keys and screen readers.
 * @module
 */

import { debounced, listen } from "../lib/disposal.js";
import { h } from "../lib/dom.js";
import { count, percent } from "../lib/format.js";
import { css } from "./palettes.js";
import { TileCache } from "./tile-cache.js";

const QUIET_MILLISECONDS = 300;
/** Until a tile is fetched of what is not shown, for the place where a pointer rests. */
const REST_MILLISECONDS = 120;
/** Tiles that are kept of it, of each source. */
const FEW = 12;

/** @type {import("./page.js").Feature} */
export function pointerReadout({ pane, overlay, disposal }) {
  const swatch = h("span", { class: "swatch" });
  const text = h("span", { class: "pointer-text" });
  const element = h("div", { class: "pointer", attributes: { hidden: true } }, swatch, text);
  overlay.append(element);
  const area = pane.stage.element;
  /** Of what is not shown: classes beside a probability, or the probability of a class. @type {Map<string, TileCache>} */
  const beside = new Map();
  /** @type {{x: number, y: number}|null} */
  let pointer = null;

  const place = () => pane.stage.toSlide(pointer ?? { x: area.clientWidth / 2, y: area.clientHeight / 2 });
  /** Return what is shown there, and the source of what is not. */
  const look = () => {
    const { x, y } = place();
    const { probability, visible } = pane.state.get();
    const value = visible ? pane.layer.valueAt(x, y) : null;
    const kept = value !== null && pane.result.table.probabilities;
    const source = !kept ? "" : probability !== null ? "tiles" : value > 0 ? `probabilities/${value}` : "";
    return { x, y, probability, value, source };
  };
  const fetchBeside = debounced(REST_MILLISECONDS, () => {
    const { x, y, source } = look();
    const at = pane.layer.pixelAt(x, y);
    if (element.hidden || source === "" || at === null) return;
    let cache = beside.get(source);
    if (!cache) {
      cache = new TileCache((...tile) => `${pane.result.path}/${source}/${tile.join("/")}.png`, pane.result.table.tile_size, FEW);
      cache.addEventListener("tile", show);
      beside.set(source, cache);
    }
    cache.want([at]);
  });
  const show = () => {
    const middle = pointer === null;
    element.hidden = middle && !area.contains(document.activeElement);
    if (element.hidden) return;
    element.setAttribute("aria-live", middle ? "polite" : "off"); // a pointer would have it read all the time
    const { x, y, probability, value, source } = look();
    const cache = beside.get(source);
    const other = cache ? pane.layer.valueAt(x, y, cache) : null;
    const [id, share] = probability === null ? [value, other] : [other, value];
    const name = (/** @type {number|null} */ one) => pane.classes().find((entry) => entry.id === one)?.name ?? "";
    const chance = share === null ? "" : percent(share / 255);
    const words = probability === null ? [`${name(id)} ${chance}`] : [`${value === null ? "" : name(probability)} ${chance}`, id === null ? "" : `class ${name(id)}`];
    const what = words.map((one) => one.trim()).filter((one) => one !== "" && one !== "class");
    element.dataset["value"] = value === null ? "" : String(value);
    const named = pane.classes().find((entry) => entry.id === (probability ?? value));
    swatch.hidden = what.length === 0 || value === 0;
    if (named) swatch.style.background = css(named.color);
    text.textContent = `${middle ? "Middle: " : ""}${[...what, `${count(x)}, ${count(y)} px`].join(" · ")}`;
    fetchBeside();
  };
  const forget = () => {
    for (const cache of beside.values()) cache.close();
    beside.clear();
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
  disposal.add(fetchBeside.cancel);
  disposal.add(forget);
  listen(disposal, pane.element, "result-replaced", forget);
  listen(disposal, pane.layer, "drawn", () => (pointer ? show() : later()));
  for (const name of ["focusin", "focusout"]) listen(disposal, area, name, later);
}
