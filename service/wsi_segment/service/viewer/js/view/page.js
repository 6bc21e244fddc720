/**
 * The page of one result: `#/view/JOB?at=...`. Its parts are features, each in a module of its own, around one pane.
 * @module
 */

import { bindKeys } from "../app/keys.js";
import { fetchedPart } from "../app/pages.js";
import { replaceQuery } from "../app/router.js";
import { createDisposal, debounced, listen } from "../lib/disposal.js";
import { fill, h } from "../lib/dom.js";
import { viewKeys } from "./keys.js";
import { createPane } from "./pane.js";
import { readResult } from "./result.js";
import { createViewState, parseView, writeView } from "./view-state.js";

/** @typedef {import("./pane.js").Pane} Pane */
/** @typedef {import("../lib/disposal.js").Disposal} Disposal */

/**
 * What a feature gets to work with.
 * @typedef {object} View
 * @property {Pane} pane
 * @property {Disposal} disposal undone when the page is left
 * @property {HTMLElement} overlay over the slide, for what stays in place: scale bar, readouts
 * @property {HTMLElement} toolbar buttons over the slide
 * @property {HTMLElement} side the side panel
 * @property {(title: string, content: HTMLElement, options?: {open?: boolean, name?: string}) => HTMLDetailsElement} addPanel a part of the side panel that folds
 */

/** @typedef {(view: View) => void|Promise<void>} Feature */

const PATIENCE_MILLISECONDS = 800;
/** Without another tile for so long, tiles are slow, and tools need not wait for them. */
const MOST_PATIENCE_MILLISECONDS = 3000;

/** The view of a region is so many times as wide. */
const ROOM = 1.5;

/** @type {import("../app/router.js").OpenPage} */
export async function openViewPage(main, route, disposal) {
  const id = route.parts[0] ?? "";
  const state = createViewState(route.query);
  const paneElement = h("section", { class: "pane", attributes: { "aria-label": "Slide and mask" }, data: { drawn: "false" } });
  const side = h("aside", { class: "side", attributes: { "aria-label": "Legend and tools" } });
  fill(main, h("p", { class: "loading", text: "Loading the result …" }));
  const result = await readResult(id);
  if (disposal.disposed) return { ready: "" };
  fill(main, h("div", { class: "view" }, paneElement, side));
  if (!state.get().at && result.job.region) state.set({ at: around(result.job.region, paneElement) });
  const pane = await createPane(paneElement, result, state, { name: `Slide ${result.job.slide_name ?? ""} with its mask` });
  disposal.add(pane.dispose);
  const overlay = h("div", { class: "overlay" });
  const toolbar = h("div", { class: "toolbar", attributes: { role: "toolbar", "aria-label": "View" } });
  paneElement.append(overlay, toolbar);

  /** @type {View} */
  const view = {
    pane,
    disposal,
    overlay,
    toolbar,
    side,
    addPanel(title, content, options = {}) {
      const panel = h("details", { class: "panel", attributes: { open: options.open ?? false }, data: { panel: options.name ?? "" } },
        h("summary", { text: title }), h("div", { class: "panel-content" }, content));
      side.append(panel);
      return panel;
    },
  };
  disposal.add(bindKeys(viewKeys(view)));
  const remember = debounced(200, () => replaceQuery(writeView(state.get())));
  disposal.add(state.subscribe(() => remember()));
  disposal.add(remember.cancel);
  await firstLook(pane);
  const { FEATURES } = await fetchedPart(() => import("./features.js"));
  if (disposal.disposed) return { ready: "" };
  for (const feature of FEATURES) await feature(view);
  return {
    ready: "view",
    onRoute(next) {
      if (next.name !== "view" || next.parts[0] !== id) return false;
      if (next.query.toString() === "") return true;
      const wanted = parseView(next.query);
      state.set(wanted);
      if (wanted.at) pane.stage.show(...wanted.at);
      return true;
    },
  };
}

/**
 * Return the view of a region: of a large slide, it may be no more than a dot.
 * @param {readonly number[]} region x0, y0, x1, y1 in level-0 pixels
 * @param {HTMLElement} pane
 * @returns {[number, number, number]}
 */
function around([x0 = 0, y0 = 0, x1 = 1, y1 = 1], pane) {
  const scale = Math.max((x1 - x0) / (pane.clientWidth || 1), (y1 - y0) / (pane.clientHeight || 1));
  return [(x0 + x1) / 2, (y0 + y1) / 2, ROOM * scale];
}

/**
 * Wait until slide and mask are drawn, so that what stands around them holds up no tile; not where tiles are slow.
 * @param {Pane} pane
 */
function firstLook({ element, stage, layer }) {
  return new Promise((done) => {
    const disposal = createDisposal();
    const end = () => {
      disposal.dispose();
      done(undefined);
    };
    const slow = debounced(PATIENCE_MILLISECONDS, end);
    const look = () => {
      if (element.dataset["drawn"] === "true") end();
      else slow();
    };
    const last = window.setTimeout(end, MOST_PATIENCE_MILLISECONDS);
    disposal.add(slow.cancel);
    disposal.add(() => window.clearTimeout(last));
    for (const [target, name] of /** @type {[EventTarget, string][]} */ ([[stage, "tile"], [stage, "slide-complete"], [layer, "drawn"]])) listen(disposal, target, name, look);
    look();
  });
}
