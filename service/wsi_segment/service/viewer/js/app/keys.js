/**
 * What keys do: pages and their parts register them here, and `?` lists all that work at the moment.
 * @module
 */

import { h } from "../lib/dom.js";
import { typing } from "../lib/dom.js";
import { showDialog } from "./dialog.js";

/**
 * @typedef {object} KeyBinding
 * @property {string} key as `KeyboardEvent.key` names it
 * @property {string} does for people, such as "show or hide the mask"
 * @property {(event: KeyboardEvent) => unknown} action returns false where the key means nothing at the moment: others may have it
 * @property {boolean} [hidden] not listed by itself
 * @property {string} [shown] how the list names it, where not by the key
 */

/** @type {KeyBinding[][]} */
const layers = [];

/**
 * Register keys; the last that were registered go first.
 * @param {KeyBinding[]} bindings
 * @returns {() => void} what takes them away
 */
export function bindKeys(bindings) {
  layers.push(bindings);
  return () => {
    const index = layers.indexOf(bindings);
    if (index >= 0) layers.splice(index, 1);
  };
}

/** Start to listen. */
export function watchKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]") || (typing() && event.key !== "Escape")) return;
    if (event.key === "Enter" && document.activeElement?.matches("a, button, summary, tr, [role=button]")) return;
    if (event.key === " " && document.activeElement?.matches("a, button, summary, input")) return;
    for (const layer of [...layers].reverse()) {
      const found = layer.find((binding) => binding.key === event.key);
      if (found && found.action(event) !== false) {
        event.preventDefault();
        return;
      }
    }
  });
  bindKeys([{ key: "?", does: "list the keys", action: showKeys }]);
}

/** Show which keys work. */
export function showKeys() {
  const seen = new Set();
  const rows = [];
  for (const layer of [...layers].reverse()) {
    for (const binding of layer) {
      const shown = binding.shown ?? binding.key;
      if (binding.hidden || seen.has(shown)) continue;
      seen.add(shown);
      rows.push(h("tr", {}, h("th", { attributes: { scope: "row" } }, h("kbd", { text: shown })), h("td", { text: binding.does })));
    }
  }
  showDialog("Keyboard shortcuts", [h("table", { class: "keys" }, h("tbody", {}, rows))]);
}
