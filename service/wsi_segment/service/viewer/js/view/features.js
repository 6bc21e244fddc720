/**
 * The parts of the viewer, in the order in which they stand on the page.
 * @module
 */

import { downloads } from "./downloads.js";
import { growing } from "./growing.js";
import { legend } from "./legend.js";
import { permalink } from "./permalink.js";
import { pointerReadout } from "./pointer.js";
import { scaleBar } from "./scale-bar.js";
import { display } from "./display.js";
import { zoomButtons } from "./zoom-buttons.js";

/** @type {import("./page.js").Feature[]} */
export const FEATURES = [zoomButtons, scaleBar, pointerReadout, growing, legend, display, permalink, downloads];
