/**
 * Dark or light: as the system is set, or as the user chose here.
 * @module
 */

import { iconButton } from "../lib/dom.js";

const KEY = "wsi-segment.theme";
/** @typedef {"system"|"light"|"dark"} Theme */

/** @returns {Theme} */
function chosen() {
  const stored = window.localStorage.getItem(KEY);
  return stored === "light" || stored === "dark" ? stored : "system";
}

/** @param {Theme} theme */
function apply(theme) {
  if (theme === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}

/** Apply what was chosen, and return the button that changes it. */
export function themeButton() {
  apply(chosen());
  const order = /** @type {Theme[]} */ (["system", "light", "dark"]);
  const label = () => `Colours: ${chosen()}. Dark, light, or as the system is set`;
  const control = iconButton("contrast", () => {
    const next = order[(order.indexOf(chosen()) + 1) % order.length] ?? "system";
    if (next === "system") window.localStorage.removeItem(KEY);
    else window.localStorage.setItem(KEY, next);
    apply(next);
    name();
  }, { name: label() });
  const name = () => {
    control.title = label();
    control.setAttribute("aria-label", label());
  };
  name();
  control.classList.add("quiet");
  return control;
}
