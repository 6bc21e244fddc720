/**
 * The decisions of a review with the way back and forth. They outlive the page they were made on, as long as the tab.
 * @module
 */

import { server } from "../server/api.js";
import { noDecisions, setOpinion } from "./edits.js";

/** @typedef {import("./edits.js").Decisions} Decisions */
/** @typedef {import("./edits.js").Change} Change */

/**
 * @typedef {object} Step from one state of the decisions to the next; every state has a number of its own
 * @property {Change|null} change of one outline; null where all decisions were replaced
 * @property {{state: number, decisions: Decisions}} before
 * @property {{state: number, decisions: Decisions}} after
 */

const MOST_STEPS = 500;

export class History extends EventTarget {
  /** Tells of `changed` (detail: the id of the outline, empty where it is none, null where it may be any). */
  constructor() {
    super();
    /** @type {Step[]} */
    this.past = [];
    /** @type {Step[]} */
    this.future = [];
    this.now = noDecisions();
    this.state = 0;
    this.saved = 0;
    this.states = 0;
    /** What `ETag` says of the version that was loaded or saved last; null where there is none. @type {string|null} */
    this.tag = null;
    /** Who saved that version, and when. @type {{version: number, author: string, saved: string}|null} */
    this.version = null;
    this.loaded = false;
    /** Whether it is being saved. */
    this.saving = false;
  }

  /** Whether nothing is decided: that can be saved in the place of what was decided before. */
  get empty() {
    return this.now.kept.size === 0 && this.now.rejected.size === 0;
  }

  /** @param {boolean} saving */
  mark(saving) {
    this.saving = saving;
    this.tell("");
  }

  /** Whether something is not saved yet. */
  get dirty() {
    return this.state !== this.saved;
  }

  /** @param {Change} change */
  change(change) {
    setOpinion(this.now, change.id, change.after);
    this.step(change, this.now);
  }

  /**
   * Put other decisions in the place of all, with a way back.
   * @param {Decisions} decisions
   */
  replace(decisions) {
    this.step(null, decisions);
  }

  /**
   * @param {Change|null} change
   * @param {Decisions} decisions
   */
  step(change, decisions) {
    this.states += 1;
    const step = { change, before: { state: this.state, decisions: this.now }, after: { state: this.states, decisions } };
    this.past.push(step);
    if (this.past.length > MOST_STEPS) this.past.shift();
    this.future = [];
    this.arrive(step.after, change);
  }

  undo() {
    const step = this.past.pop();
    if (!step) return;
    this.future.push(step);
    if (step.change) setOpinion(this.now, step.change.id, step.change.before);
    this.arrive(step.before, step.change);
  }

  redo() {
    const step = this.future.pop();
    if (!step) return;
    this.past.push(step);
    if (step.change) setOpinion(this.now, step.change.id, step.change.after);
    this.arrive(step.after, step.change);
  }

  /**
   * @param {{state: number, decisions: Decisions}} place
   * @param {Change|null} change
   */
  arrive({ state, decisions }, change) {
    this.state = state;
    this.now = decisions;
    this.tell(change ? change.id : null);
  }

  /**
   * Begin with what the server has; there is no way back to what was decided before.
   * @param {Decisions} decisions
   */
  begin(decisions) {
    this.past = [];
    this.future = [];
    this.states += 1;
    this.state = this.states;
    this.now = decisions;
    this.tell(null);
  }

  /**
   * Note what the server has.
   * @param {number} state of the decisions that the server has now
   * @param {string|null} tag
   * @param {{version: number, author: string, saved: string}|null} version
   */
  settle(state, tag, version) {
    this.saved = state;
    this.tag = tag;
    this.version = version;
    this.loaded = true;
    this.tell("");
  }

  /** @param {string|null} id */
  tell(id) {
    this.dispatchEvent(new CustomEvent("changed", { detail: id }));
  }
}

/** @type {Map<string, History>} */
const histories = new Map();

/**
 * Return the history of a job's review; what was not saved is still there when the page is opened again.
 * @param {string} job
 */
export function historyOf(job) {
  if (histories.size === 0) {
    window.addEventListener("beforeunload", askBeforeLosing);
    server.addEventListener("leaving", askBeforeLosing);
    server.addEventListener("forget", forget);
  }
  const found = histories.get(job) ?? new History();
  histories.set(job, found);
  return found;
}

/**
 * Have it asked before the tab is closed, the user signs out or another one signs in, while a review is not saved, whichever page is shown.
 * @param {Event} event
 */
function askBeforeLosing(event) {
  if ([...histories.values()].some((history) => history.dirty)) event.preventDefault();
}

/** Keep nothing of somebody who is gone: the next one at this tab would save it under another name. */
function forget() {
  histories.clear();
}
