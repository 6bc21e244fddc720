/**
 * Says in the document which page is shown and complete: `<html data-ready="view">`. Tests and scripts wait for it.
 * @module
 */

/**
 * Note that a page is complete, or with an empty name that none is.
 * @param {string} name
 */
export function setReady(name) {
  document.documentElement.dataset["ready"] = name;
}
