/**
 * The decisions of a review with the way back and forth. They outlive the page they were made on, as long as the tab.
 * @module
 */

import { noDecisions } from "./edits.js";

/** @typedef {import("./edits.js").Decisions} Decisions */

const MOST_STEPS = 500;

export class History extends EventTarget {
  /** Tells of `changed`. */
  constructor() {
    super();
    /** @type {Decisions[]} */
    this.past = [];
    /** @type {Decisions[]} */
    this.future = [];
    this.now = noDecisions();
    this.saved = this.now;
    /** What `ETag` says of the version that was loaded or saved last; null where there is none. @type {string|null} */
    this.tag = null;
    /** Who saved that version, and when. @type {{version: number, author: string, saved: string}|null} */
    this.version = null;
    this.loaded = false;
  }

  /** Whether something is not saved yet. */
  get dirty() {
    return this.now !== this.saved;
  }

  /** @param {Decisions} next */
  change(next) {
    this.past.push(this.now);
    if (this.past.length > MOST_STEPS) this.past.shift();
    this.future = [];
    this.now = next;
    this.tell();
  }

  undo() {
    const before = this.past.pop();
    if (!before) return;
    this.future.push(this.now);
    this.now = before;
    this.tell();
  }

  redo() {
    const after = this.future.pop();
    if (!after) return;
    this.past.push(this.now);
    this.now = after;
    this.tell();
  }

  /**
   * Note what the server has.
   * @param {Decisions} decisions that the server has now
   * @param {string|null} tag
   * @param {{version: number, author: string, saved: string}|null} version
   */
  settle(decisions, tag, version) {
    this.saved = decisions;
    this.tag = tag;
    this.version = version;
    this.loaded = true;
    this.tell();
  }

  tell() {
    this.dispatchEvent(new Event("changed"));
  }
}

/** @type {Map<string, History>} */
const histories = new Map();

/**
 * Return the history of a job's review; what was not saved is still there when the page is opened again.
 * @param {string} job
 */
export function historyOf(job) {
  if (histories.size === 0) window.addEventListener("beforeunload", askBeforeLeaving);
  const found = histories.get(job) ?? new History();
  histories.set(job, found);
  return found;
}

/**
 * Have the browser ask before the tab is closed while a review is not saved, whichever page is shown.
 * @param {Event} event
 */
function askBeforeLeaving(event) {
  if ([...histories.values()].some((history) => history.dirty)) event.preventDefault();
}
