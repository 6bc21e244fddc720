/**
 * A review that is going on: the outlines on the screen, what is decided about them, which one is selected.
 * @module
 */

import { debounced, listen } from "../lib/disposal.js";
import { send } from "../server/api.js";
import { accept, classNameOf, draw, reject, relabel } from "./edits.js";
import { historyOf } from "./history.js";
import { OutlineLayer } from "./outline-layer.js";
import { shapeOf } from "./shapes.js";
import { createSketch } from "./sketch.js";

/** @typedef {import("./edits.js").Feature} Feature */
/** @typedef {import("./edits.js").ClassChoice} ClassChoice */
/** @typedef {import("./outline-layer.js").Item} Item */

/** Outlines that are shown at once; where the screen has more, the user is asked to come closer. */
const MOST = 1500;
const QUIET_MILLISECONDS = 200;

export class ReviewSession extends EventTarget {
  /**
   * Tells of `changed` (selection, decisions, outlines on the screen) and `said` (detail: a text for the user).
   * @param {import("../view/pane.js").Pane} pane
   * @param {import("../lib/disposal.js").Disposal} disposal
   */
  constructor(pane, disposal) {
    super();
    this.pane = pane;
    this.job = pane.result.job.id;
    this.history = historyOf(this.job);
    /** Outlines of the mask on the screen, by id. @type {Map<string, Feature>} */
    this.found = new Map();
    /** All outlines of certain decisions. @type {{now: import("./edits.js").Decisions, found: Map<string, Feature>, items: Item[]}|null} */
    this.listed = null;
    /** How many there are where they are too many to show. */
    this.tooMany = 0;
    /** @type {string|null} */
    this.selected = null;
    /** @type {ClassChoice} of outlines that are drawn */
    this.choice = this.choices()[0] ?? { id: 1, name: "1", color: [255, 255, 255] };
    this.layer = new OutlineLayer(pane.stage, (name) => this.colorOf(name));
    this.sketch = createSketch(pane.stage, (ring) => this.drawn(ring));
    disposal.add(() => this.layer.close());
    disposal.add(() => this.sketch.dispose());
    const later = debounced(QUIET_MILLISECONDS, () => void this.load());
    disposal.add(later.cancel);
    listen(disposal, pane.stage, "moved", later);
    listen(disposal, this.history, "changed", () => this.update());
    disposal.add(pane.state.subscribe(() => this.layer.draw()));
    const click = (/** @type {any} */ event) => {
      if (event.quick) this.select(this.layer.at(pane.stage.toSlide(event.position)));
    };
    pane.stage.viewer.addHandler("canvas-click", click);
    disposal.add(() => pane.stage.viewer.removeHandler("canvas-click", click));
    disposal.add(() => this.loading?.abort());
  }

  /** @returns {ClassChoice[]} the classes that an outline can have */
  choices() {
    return this.pane.classes().filter((entry) => entry.id > 0);
  }

  /** @param {string} name */
  colorOf(name) {
    return this.choices().find((entry) => classNameOf(entry.name) === name)?.color ?? [255, 255, 255];
  }

  /** Fetch the outlines of the mask that the screen meets. */
  async load() {
    this.loading?.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    const place = this.pane.stage.place();
    const box = [place.x0, place.y0, place.x0 + place.width, place.y0 + place.height].map((value) => value.toFixed(1)).join(",");
    try {
      const answer = await send("GET", `/v1/jobs/${this.job}/results/objects.geojson?bbox=${box}`, { signal });
      const total = Number(answer.headers.get("X-Total-Count"));
      this.tooMany = total > MOST ? total : 0;
      if (this.tooMany) await answer.body?.cancel();
      const features = this.tooMany ? [] : /** @type {{features: Feature[]}} */ (await answer.json()).features;
      this.found = new Map(features.map((one) => [one.id, one]));
      this.loaded = true;
      this.update();
    } catch (error) {
      if (!signal.aborted) this.say(error instanceof Error ? error.message : String(error));
    }
  }

  /** @returns {Item[]} all outlines, those that are kept on the whole slide */
  items() {
    const { now } = this.history;
    if (this.listed?.now === now && this.listed.found === this.found) return this.listed.items;
    const { kept, rejected } = now;
    /** @type {Item[]} */
    const items = [...this.found.values()].filter((one) => !kept.has(one.id))
      .map((feature) => ({ feature, status: rejected.has(feature.id) ? "rejected" : "open" }));
    for (const feature of kept.values()) items.push({ feature, status: "kept" });
    this.listed = { now, found: this.found, items };
    return items;
  }

  update() {
    const items = this.items();
    if (!items.some((one) => one.feature.id === this.selected)) this.selected = null;
    this.layer.show(items, this.selected);
    this.dispatchEvent(new Event("changed"));
  }

  /** @returns {Item|null} */
  current() {
    return this.items().find((one) => one.feature.id === this.selected) ?? null;
  }

  /** @param {string|null} id */
  select(id) {
    this.selected = id;
    this.update();
  }

  /**
   * Select the next outline on the screen that is not reviewed yet, the largest first.
   * @param {1|-1} step
   */
  next(step) {
    const place = this.pane.stage.place();
    const here = this.items().map((item) => ({ item, shape: shapeOf(item.feature) }))
      .filter(({ shape: { box: [x0, y0, x1, y1] } }) => x1 > place.x0 && y1 > place.y0 && x0 < place.x0 + place.width && y0 < place.y0 + place.height)
      .sort((a, b) => b.shape.area - a.shape.area);
    const at = here.findIndex(({ item }) => item.feature.id === this.selected);
    for (let i = 1; i <= here.length; i += 1) {
      const one = here[(((at < 0 && step < 0 ? 0 : at) + step * i) % here.length + here.length) % here.length];
      if (one?.item.status === "open") {
        this.select(one.item.feature.id);
        return;
      }
    }
    this.select(null);
    if (this.tooMany) this.say("Come closer: there are too many outlines on the screen.");
    else this.say(here.length > 0 ? "All outlines on the screen are reviewed." : "There is no outline on the screen.");
  }

  /** Accept the selected outline, and go on to the next. */
  accept() {
    const one = this.wanted();
    if (!one) return;
    this.history.change(accept(this.history.now, one.feature));
    this.next(1);
  }

  /** Delete the selected outline, and go on to the next. */
  reject() {
    const one = this.wanted();
    if (!one) return;
    this.history.change(reject(this.history.now, one.feature));
    this.next(1);
  }

  /**
   * Give the selected outline a class; without one, the class is that of what is drawn next.
   * @param {number} id of the class
   */
  relabel(id) {
    const choice = this.choices().find((entry) => entry.id === id);
    if (!choice) return;
    const one = this.current();
    if (one) this.history.change(relabel(this.history.now, one.feature, choice));
    else {
      this.choice = choice;
      this.say(`New outlines are ${choice.name}.`);
      this.update();
    }
  }

  /** @param {number[][]|null} ring */
  drawn(ring) {
    this.sketch.stop();
    if (ring === null) {
      this.say("The line encloses nothing; draw it again.");
      return;
    }
    const { decisions, id } = draw(this.history.now, ring, this.choice);
    this.selected = id;
    this.history.change(decisions);
    this.say(`Drawn as ${this.choice.name}; a digit gives it another class.`);
  }

  wanted() {
    const one = this.current();
    if (!one) this.say("Select an outline first: click it, or press n.");
    return one;
  }

  /** @param {string} text */
  say(text) {
    this.dispatchEvent(new CustomEvent("said", { detail: text }));
  }
}
