/**
 * Buttons for what wheel, fingers and keys do too.
 * @module
 */

import { iconButton } from "../lib/dom.js";

/** @type {import("./page.js").Feature} */
export function zoomButtons({ pane, toolbar }) {
  zoomButtonsOn(toolbar, pane.stage);
}

/**
 * Put the buttons into a toolbar.
 * @param {HTMLElement} toolbar
 * @param {import("./stage.js").Stage} stage
 */
export function zoomButtonsOn(toolbar, stage) {
  toolbar.append(
    iconButton("plus", () => stage.zoomBy(1.5), { name: "Zoom in", title: "Zoom in (+)" }),
    iconButton("minus", () => stage.zoomBy(1 / 1.5), { name: "Zoom out", title: "Zoom out (−)" }),
    iconButton("home", () => stage.home(), { name: "Whole slide", title: "Whole slide (0)" }),
  );
}
