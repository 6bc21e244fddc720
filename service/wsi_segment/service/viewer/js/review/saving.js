/**
 * Saving a review, and what happens when somebody else saved meanwhile: nothing is lost, and nobody is overwritten unasked.
 * @module
 */

import { showDialog } from "../app/dialog.js";
import { notice, showError } from "../app/notices.js";
import { button, h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { ApiError } from "../server/api.js";
import { collectionOf, loadCorrections, saveCorrections } from "./corrections.js";

/** @typedef {import("./history.js").History} History */
/** @typedef {import("./corrections.js").Loaded} Loaded */

/**
 * Save what is decided.
 * @param {string} job
 * @param {string} name of the slide, for a copy
 * @param {History} history
 * @param {string|null} [tag] of the version that is replaced, if not the one that was loaded
 */
export async function save(job, name, history, tag = history.tag) {
  const { now: decisions, state } = history;
  const needless = history.saving ? "The review is being saved."
    : history.empty && tag === null ? "There is nothing to save yet: accept, delete or draw an outline."
      : !history.dirty ? "All of the review is saved." : "";
  if (needless) {
    notice(needless);
    return;
  }
  history.mark(true);
  try {
    const made = await saveCorrections(job, decisions, tag);
    history.settle(state, made.tag, made.version ?? history.version);
    notice("The review is saved.");
  } catch (error) {
    if (error instanceof ApiError && (error.status === 412 || error.status === 428)) await changedMeanwhile(job, name, history);
    else showError(error);
  } finally {
    history.mark(false);
  }
}

/**
 * Load what the server has, unless something is not saved here.
 * @param {string} job
 * @param {History} history
 */
export async function loadLatest(job, history) {
  if (history.loaded && history.dirty) return;
  const found = await loadCorrections(job);
  if (found) take(history, found);
  else history.settle(history.state, null, null);
}

/**
 * Put an earlier version in the place of what is decided now; it counts when it is saved.
 * @param {string} job
 * @param {History} history
 * @param {number} version
 */
export async function restore(job, history, version) {
  const found = await loadCorrections(job, version);
  if (found) history.replace(found.decisions);
}

/**
 * Keep what is decided as a file of this computer.
 * @param {string} name of the slide
 * @param {History} history
 */
export function download(name, history) {
  const content = JSON.stringify(collectionOf(history.now));
  const url = URL.createObjectURL(new Blob([content], { type: "application/geo+json" }));
  h("a", { attributes: { href: url, download: `${name}.geojson` } }).click();
  window.setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/**
 * @param {History} history
 * @param {Loaded} found
 */
function take(history, found) {
  history.begin(found.decisions);
  history.settle(history.state, found.tag, found.version);
}

/**
 * @param {string} job
 * @param {string} name
 * @param {History} history
 */
async function changedMeanwhile(job, name, history) {
  const theirs = await loadCorrections(job);
  if (!theirs) return;
  const who = theirs.version.author || "somebody";
  const close = (/** @type {() => void} */ action) => () => {
    dialog.close();
    action();
  };
  const dialog = showDialog(
    `Changed by ${who} meanwhile`,
    [h("p", { text: `${theirs.version.author || "Somebody"} saved version ${theirs.version.version} of this review at ${moment(theirs.version.saved)}, after you had opened it.` }),
      h("p", { text: "Yours is not saved yet. If you save it over theirs, theirs stays among the earlier versions." })],
    {
      name: "changed",
      actions: [
        button("Keep a copy of mine, and load theirs", close(() => {
          download(name, history);
          take(history, theirs);
        })),
        button("Load theirs", close(() => take(history, theirs)), { class: "danger" }),
        button("Save mine as the next version", close(() => void save(job, name, history, theirs.tag)), { class: "primary" }),
      ],
    },
  );
}
