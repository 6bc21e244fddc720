/**
 * Two results of one slide: `#/compare/A/B?at=...`, side by side or as a curtain, with a map of where they differ.
 * @module
 */

import { bindKeys } from "../app/keys.js";
import { hrefOf, replaceQuery } from "../app/router.js";
import { askedBeside, modelOf } from "../jobs/asked.js";
import { debounced } from "../lib/disposal.js";
import { button, fill, h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { display } from "../view/display.js";
import { maskKeys, stageKeys } from "../view/keys.js";
import { legend } from "../view/legend.js";
import { createPane } from "../view/pane.js";
import { css } from "../view/palettes.js";
import { readResult } from "../view/result.js";
import { scaleBarOn } from "../view/scale-bar.js";
import { createViewState, keepLinksAt, parseView, writeView } from "../view/view-state.js";
import { zoomButtonsOn } from "../view/zoom-buttons.js";
import { createCurtain } from "./curtain.js";
import { DIFFERENT, DifferenceLayer, ONLY_ONE } from "./difference-layer.js";
import { differencesTable } from "./differences.js";
import { linkStages } from "./link-stages.js";

/** @typedef {import("../view/pane.js").Pane} Pane */
/** @typedef {import("../view/result.js").Result} Result */
/** @typedef {import("../lib/disposal.js").Disposal} Disposal */

/** @type {import("../app/router.js").OpenPage} */
export async function openComparePage(main, route, disposal) {
  const ids = [route.parts[0] ?? "", route.parts[1] ?? ""];
  fill(main, h("p", { class: "loading", text: "Loading the results …" }));
  const [a, b] = /** @type {[Result, Result]} */ (await Promise.all(ids.map(readResult)));
  if (disposal.disposed) return { ready: "" };
  if (a.job.slide !== b.job.slide) throw new Error("The two results are of different slides; only results of one slide can be compared.");
  if (a.growing || b.growing) throw new Error("One of the jobs still runs; results can be compared when both are done.");
  const place = h("div", { class: "panes" });
  const side = h("aside", { class: "side", attributes: { "aria-label": "Comparison" } });
  fill(main, h("div", { class: "view compare" }, place, side));
  place.dataset["mode"] = modeOf(route.query); // before the panes are measured
  const [first, second] = await openPanes(place, [a, b], route.query, disposal);
  if (disposal.disposed) return { ready: "" };
  const toolbar = h("div", { class: "toolbar", attributes: { role: "toolbar", "aria-label": "View" } });
  const overlay = h("div", { class: "overlay" });
  place.append(toolbar, overlay);
  zoomButtonsOn(toolbar, first.stage);
  disposal.add(scaleBarOn(overlay, first.stage, a.table.mpp_x));
  const follow = linkStages(first.stage, second.stage, disposal);
  const map = new DifferenceLayer(first, second);
  disposal.add(() => map.close());

  const remember = debounced(200, () => replaceQuery([writeView(first.state.get()), mode === "side" ? "" : "mode=curtain", mode === "side" ? "" : `curtain=${Math.round(100 * curtain.share())}`, map.visible ? "differences=on" : ""].filter(Boolean).join("&")));
  disposal.add(remember.cancel);
  const curtain = createCurtain(place, second.element, () => remember());
  let mode = "side";
  const setMode = (/** @type {string} */ next) => {
    mode = next;
    place.dataset["mode"] = mode;
    curtain.show(mode === "curtain");
    sideButton.setAttribute("aria-pressed", String(mode === "side"));
    curtainButton.setAttribute("aria-pressed", String(mode === "curtain"));
    remember();
  };
  const setMap = (/** @type {boolean} */ on) => {
    map.show(on);
    mapBox.checked = on;
    remember();
  };
  const sideButton = button("Side by side", () => setMode("side"), { pressed: true });
  const curtainButton = button("Curtain (c)", () => setMode("curtain"), { pressed: false });
  const mapBox = h("input", { id: "differences", attributes: { type: "checkbox" }, on: { change: () => setMap(mapBox.checked) } });
  const addPanel = panelsIn(side);
  side.append(heading(a, b));
  keepLinksAt(first.state, disposal, () => side.querySelectorAll(".side-head a"));
  const key = h("ul", { class: "classes" }, sample(DIFFERENT, "another class"), sample(ONLY_ONE, "only one has a class"));
  addPanel("Differences", h("div", { class: "controls" }, h("div", { class: "actions", attributes: { role: "group", "aria-label": "How the two are shown" } }, sideButton, curtainButton),
    h("label", { class: "tick", attributes: { for: mapBox.id } }, mapBox, "Map of where they differ (v)"), key, differencesTable(a.job.id, b.job.id, a.table.levels[0]?.downsample ?? 1, disposal)), { open: true, name: "differences" });
  const view = { pane: first, disposal, overlay, toolbar, side, addPanel };
  void display(view);
  void legend(view);
  disposal.add(first.state.subscribe(() => remember()));
  disposal.add(bindKeys([...stageKeys(first.stage), ...maskKeys(first),
    { key: "c", does: "side by side or curtain", action: () => setMode(mode === "side" ? "curtain" : "side") },
    { key: "<", shown: "< >", does: "move the curtain", action: () => curtain.set(curtain.share() - 0.05) },
    { key: ">", does: "", hidden: true, action: () => curtain.set(curtain.share() + 0.05) },
    { key: "v", does: "show or hide where they differ", action: () => setMap(!map.visible) },
  ]));
  const apply = (/** @type {URLSearchParams} */ query) => {
    setMode(modeOf(query));
    curtain.set(Number(query.get("curtain") ?? 50) / 100);
    setMap(query.get("differences") === "on");
    follow();
  };
  apply(route.query);
  return {
    ready: "compare",
    onRoute(next) {
      if (next.name !== "compare" || next.parts[0] !== ids[0] || next.parts[1] !== ids[1]) return false;
      const wanted = { ...parseView(next.query), probability: null };
      first.state.set(wanted);
      if (wanted.at) first.stage.show(...wanted.at, true);
      apply(next.query);
      return true;
    },
  };
}

/**
 * Open both panes; how the first is looked at, the second is too.
 * @param {HTMLElement} place
 * @param {[Result, Result]} results
 * @param {URLSearchParams} query
 * @param {Disposal} disposal
 * @returns {Promise<[Pane, Pane]>}
 */
async function openPanes(place, results, query, disposal) {
  const panes = [];
  for (const [index, result] of results.entries()) {
    const name = index === 0 ? "A" : "B";
    const element = h("section", { class: "pane", attributes: { "aria-label": `Result ${name}` }, data: { drawn: "false", side: name } });
    element.append(h("span", { class: "pane-name", text: `${name}: ${modelOf(result.job)}` }));
    place.append(element);
    const pane = await createPane(element, result, classesAt(query), { navigator: index === 1, keepScale: true, name: `Slide with the mask of result ${name}` });
    disposal.add(pane.dispose);
    panes.push(pane);
  }
  const [first, second] = /** @type {[Pane, Pane]} */ (panes);
  const names = (/** @type {Result} */ { table }) => table.classes.map((entry) => entry.name).join("\n");
  const same = names(results[0]) === names(results[1]);
  disposal.add(first.state.subscribe(({ visible, opacity, outline, palette, hidden }) =>
    second.state.set({ visible, opacity, outline, palette, ...(same ? { hidden } : {}) })));
  return [first, second];
}

/**
 * Return how the address says that classes are looked at; probabilities are not compared.
 * @param {URLSearchParams} query
 */
function classesAt(query) {
  const state = createViewState(query);
  state.set({ probability: null });
  return state;
}

/** @param {URLSearchParams} query */
function modeOf(query) {
  return query.get("mode") === "curtain" ? "curtain" : "side";
}

/** @param {HTMLElement} side */
function panelsIn(side) {
  return (/** @type {string} */ title, /** @type {HTMLElement} */ content, /** @type {{open?: boolean, name?: string}} */ options = {}) => {
    const panel = h("details", { class: "panel", attributes: { open: options.open ?? false }, data: { panel: options.name ?? "" } },
      h("summary", { text: title }), h("div", { class: "panel-content" }, content));
    side.append(panel);
    return panel;
  };
}

/** @param {Result} a @param {Result} b */
function heading(a, b) {
  const line = (/** @type {string} */ name, /** @type {Result} */ result, /** @type {Result} */ other) => h("p", {}, h("strong", { text: `${name} ` }),
    h("a", { text: modelOf(result.job), attributes: { href: hrefOf("view", [result.job.id]) } }),
    [`, ${moment(result.job.finished)}`, ...askedBeside(result.job, other.job)].join("; "));
  const name = a.job.slide_name ?? "Slide";
  return h("header", { class: "side-head" }, h("h1", { text: name }), line("A", a, b), line("B", b, a),
    h("p", {}, h("a", { text: "Swap sides", attributes: { href: hrefOf("compare", [b.job.id, a.job.id]) } })));
}

/** @param {number[]} color @param {string} text */
function sample(color, text) {
  const swatch = h("span", { class: "swatch" });
  swatch.style.background = css(color);
  return h("li", {}, swatch, text);
}
