/**
 * One slide with one mask over it, and the state of how it is looked at. A page has one pane, or several side by side.
 * @module
 */

import { notice } from "../app/notices.js";
import { go } from "../app/router.js";
import { createDisposal } from "../lib/disposal.js";
import { MaskLayer } from "./mask-layer.js";
import { classTable } from "./paint.js";
import { coloured, probabilityTable } from "./palettes.js";
import { Stage } from "./stage.js";

/** @typedef {import("./result.js").Result} Result */
/** @typedef {import("./view-state.js").ViewStore} ViewStore */
/** @typedef {import("./view-state.js").ViewState} ViewState */

/**
 * @typedef {object} Pane
 * @property {HTMLElement} element tells of `result-replaced`
 * @property {Result} result
 * @property {Stage} stage
 * @property {MaskLayer} layer
 * @property {ViewStore} state
 * @property {() => import("../server/types.js").MaskClass[]} classes in the colours that are shown
 * @property {(result: Result) => void} replaceResult when the job has ended
 * @property {(pixels: number[]) => void} replaceCounts pixels of each class of the finest level, class 0 first
 * @property {() => void} dispose
 */

/**
 * Show a result.
 * @param {HTMLElement} parent
 * @param {Result} result
 * @param {ViewStore} state
 * @param {{navigator?: boolean, name?: string, keepScale?: boolean}} [options]
 * @returns {Promise<Pane>}
 */
export async function createPane(parent, result, state, options = {}) {
  const disposal = createDisposal();
  let shown = result;
  const size = { width: result.table.slide_width, height: result.table.slide_height };
  const stage = new Stage(parent, size, result.slide, { ...options, at: state.get().at });
  disposal.add(() => stage.close());
  const classes = () => coloured(shown.table.classes, state.get().palette);
  const forget = () => { // a link may name a probability that this mask does not keep
    const { probability } = state.get();
    const kept = shown.table.probabilities && shown.table.classes.some((entry) => entry.id === probability);
    if (probability !== null && !kept) state.set({ probability: null });
  };
  forget();
  const layer = new MaskLayer(stage, result.table, tilePath(result, state.get()), style(state.get()));
  disposal.add(() => layer.close());

  /** @param {ViewState} now */
  function style(now) {
    const table = now.probability === null ? classTable(classes(), now.hidden) : probabilityTable(now.threshold);
    const outline = now.outline && now.probability === null;
    const opacity = outline ? Math.min(1, 2 * now.opacity) : now.opacity; // a thin line at half strength is hardly seen
    return { table, opacity, outline, visible: now.visible };
  }

  await stage.opened; // the tiles of the mask are on their way meanwhile
  const note = () => {
    const place = stage.place();
    state.set({ at: [place.x0 + place.width / 2, place.y0 + place.height / 2, place.scale] });
  };
  stage.addEventListener("moved", note);
  disposal.add(
    state.subscribe((next, before) => {
      if (next.probability !== before.probability) forget();
      const now = state.get();
      if (now.probability !== before.probability) layer.setSource(tilePath(shown, now));
      const same = now.palette === before.palette && now.hidden === before.hidden && now.threshold === before.threshold;
      const { table, ...rest } = style(now);
      layer.setStyle(same && now.probability === before.probability ? rest : { ...rest, table });
    }),
  );
  watchDrawing(parent, stage, layer);
  watchResult(parent, layer);
  return {
    element: parent,
    get result() {
      return shown;
    },
    stage,
    layer,
    state,
    classes,
    replaceResult(next) {
      shown = next;
      layer.setSource(tilePath(next, state.get()), next.table);
      layer.setStyle(style(state.get()));
      parent.dispatchEvent(new Event("result-replaced"));
    },
    replaceCounts(pixels) {
      const counted = shown.table.classes.map((entry) => ({ ...entry, pixels: pixels[entry.id] ?? 0 }));
      shown = { ...shown, table: { ...shown.table, classes: counted } };
      parent.dispatchEvent(new Event("result-replaced"));
    },
    dispose: disposal.dispose,
  };
}

/**
 * @param {Result} result
 * @param {ViewState} state
 * @returns {(z: number, x: number, y: number) => string}
 */
function tilePath(result, state) {
  const kind = state.probability === null ? "tiles" : `probabilities/${state.probability}`;
  return (z, x, y) => `${result.path}/${kind}/${z}/${x}/${y}.png`;
}

/**
 * Say in the document whether all of slide and mask that the view needs is drawn: `data-drawn` of the pane.
 * @param {HTMLElement} element
 * @param {Stage} stage
 * @param {MaskLayer} layer
 */
function watchDrawing(element, stage, layer) {
  const note = () => {
    const drawn = String(layer.complete && stage.complete);
    if (element.dataset["drawn"] !== drawn) element.dataset["drawn"] = drawn;
  };
  layer.addEventListener("drawn", note);
  stage.addEventListener("slide-complete", note);
  stage.addEventListener("moved", note);
  note();
}

/**
 * Say so when the result goes away while it is looked at.
 * @param {HTMLElement} element
 * @param {MaskLayer} layer
 */
function watchResult(element, layer) {
  layer.addEventListener("gone", (event) => {
    if (element.dataset["gone"]) return;
    element.dataset["gone"] = "true";
    const error = /** @type {CustomEvent<Error>} */ (event).detail;
    notice(error.message, { kind: "error", action: { text: "All jobs", run: () => go("jobs") } });
  });
}

