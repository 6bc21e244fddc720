/**
 * A review that is going on: the outlines on the screen, what is decided about them, which one is selected.
 * @module
 */

import { debounced, listen } from "../lib/disposal.js";
import { send } from "../server/api.js";
import { BoxIndex } from "./box-index.js";
import { accept, classNameOf, draw, reject, relabel } from "./edits.js";
import { historyOf } from "./history.js";
import { OutlineLayer } from "./outline-layer.js";
import { shapeOf } from "./shapes.js";
import { createSketch } from "./sketch.js";

/** @typedef {import("./edits.js").Feature} Feature */
/** @typedef {import("./edits.js").ClassChoice} ClassChoice */
/** @typedef {import("./outline-layer.js").Item} Item */

/** Outlines that are shown at once; where the screen has more, the user is asked to zoom in. */
const MOST = 1500;
const QUIET_MILLISECONDS = 200;
/** Outlines that are painted one by one when they come or change. */
const MOST_PATCHES = 30;

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
    /** Those, and all that are kept on the whole slide. @type {BoxIndex<Item>} */
    this.items = new BoxIndex();
    /** How many there are where they are too many to show. */
    this.tooMany = 0;
    /** @type {string|null} */
    this.selected = null;
    /** @type {ClassChoice} of outlines that are drawn */
    this.choice = this.choices()[0] ?? { id: 1, name: "1", color: [255, 255, 255] };
    /** Colours of a palette by name. @type {{palette: string, of: Map<string, number[]>}|null} */
    this.colors = null;
    this.layer = new OutlineLayer(pane.stage, (name) => this.colorOf(name), this.items);
    for (const id of this.history.now.kept.keys()) this.place(id);
    this.sketch = createSketch(pane.stage, (ring) => this.drawn(ring));
    disposal.add(() => this.layer.close());
    disposal.add(() => this.sketch.dispose());
    const later = debounced(QUIET_MILLISECONDS, () => void this.load());
    disposal.add(later.cancel);
    listen(disposal, pane.stage, "moved", later);
    listen(disposal, this.history, "changed", (event) => this.follow(event.detail));
    disposal.add(pane.state.subscribe((now, before) => { if (now.palette !== before.palette) this.layer.repaint(); }));
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
    const { palette } = this.pane.state.get();
    if (this.colors?.palette !== palette) this.colors = { palette, of: new Map(this.choices().map((entry) => [classNameOf(entry.name), entry.color])) };
    return this.colors.of.get(name) ?? [255, 255, 255];
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
      const before = [...this.found.keys()];
      this.found = new Map(features.map((one) => [one.id, one]));
      const changed = [...new Set([...before, ...this.found.keys()])].flatMap((id) => this.place(id));
      this.show(changed.length > MOST_PATCHES ? undefined : changed);
    } catch (error) {
      if (!signal.aborted) this.say(error instanceof Error ? error.message : String(error));
    }
  }

  /**
   * Follow the decisions.
   * @param {string|null} id of the outline that was decided about; empty where it is none, null where it may be any
   */
  follow(id) {
    if (id === null) {
      for (const one of [...this.items.entries.keys(), ...this.found.keys(), ...this.history.now.kept.keys()]) this.place(one);
      this.show();
    } else if (id) {
      this.show(this.place(id));
    } else this.dispatchEvent(new Event("changed"));
  }

  /**
   * Bring an outline up to what is decided about it.
   * @param {string} id
   * @returns {Item[]} how it was and how it is now, if that is not the same
   */
  place(id) {
    const { kept, rejected } = this.history.now;
    const feature = kept.get(id) ?? this.found.get(id);
    const status = kept.has(id) ? "kept" : rejected.has(id) ? "rejected" : "open";
    const before = this.items.get(id);
    if (before ? before.feature === feature && before.status === status : !feature) return [];
    if (!feature) this.items.delete(id);
    else {
      const { box, area } = shapeOf(feature);
      this.items.set(id, box, { feature, status, area });
    }
    return [before, this.items.get(id)].filter((item) => item !== null);
  }

  /** How many outlines on the screen are not reviewed. */
  get open() {
    const { kept, rejected } = this.history.now;
    let open = 0;
    for (const id of this.found.keys()) if (!kept.has(id) && !rejected.has(id)) open += 1;
    return open;
  }

  /**
   * Show what has changed.
   * @param {Item[]} [changed] without it, all is painted again
   */
  show(changed) {
    if (this.selected !== null && !this.items.get(this.selected)) this.selected = null;
    this.layer.show(this.selected, changed);
    this.dispatchEvent(new Event("changed"));
  }

  /** @returns {Item|null} */
  current() {
    return this.selected === null ? null : this.items.get(this.selected);
  }

  /** @param {string|null} id */
  select(id) {
    this.selected = id;
    this.show([]);
  }

  /**
   * Select the next outline on the screen that is not reviewed yet, the largest first.
   * @param {1|-1} step
   */
  next(step) {
    const place = this.pane.stage.place();
    const seen = this.items.within([place.x0, place.y0, place.x0 + place.width, place.y0 + place.height]);
    const here = seen.filter((item) => item.status === "open" || item.feature.id === this.selected)
      .sort((a, b) => b.area - a.area);
    const at = here.findIndex((item) => item.feature.id === this.selected);
    for (let i = 1; i <= here.length; i += 1) {
      const one = here[(((at < 0 && step < 0 ? 0 : at) + step * i) % here.length + here.length) % here.length];
      if (one?.status === "open") {
        this.select(one.feature.id);
        return;
      }
    }
    this.select(null);
    if (this.tooMany) this.say("Zoom in: there are too many outlines on the screen.");
    else this.say(seen.length > 0 ? "All outlines on the screen are reviewed." : "There is no outline on the screen.");
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
      this.dispatchEvent(new Event("changed"));
    }
  }

  /** @param {number[][]|null} ring */
  drawn(ring) {
    this.sketch.stop();
    if (ring === null) {
      this.say("The line encloses nothing; draw it again.");
      return;
    }
    const change = draw(this.history.now, ring, this.choice);
    this.selected = change.id;
    this.history.change(change);
    this.say(`Drawn as ${this.choice.name}; the list, or a digit, gives it another class.`);
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
