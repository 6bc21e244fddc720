/**
 * The parts of the viewer, in the order in which they stand on the page.
 * @module
 */

import { review } from "../review/review.js";
import { uncertain } from "../review/uncertain.js";
import { compareWith } from "../compare/choose.js";
import { display } from "./display.js";
import { downloads } from "./downloads.js";
import { growing } from "./growing.js";
import { heading } from "./heading.js";
import { legend } from "./legend.js";
import { measure } from "./measure.js";
import { outlines } from "./outlines.js";
import { permalink } from "./permalink.js";
import { pointerReadout } from "./pointer.js";
import { probability } from "./probability.js";
import { scaleBar } from "./scale-bar.js";
import { snapshot } from "./snapshot.js";
import { zoomButtons } from "./zoom-buttons.js";

/** @type {import("./page.js").Feature[]} */
export const FEATURES = [
  heading, zoomButtons, measure, snapshot, scaleBar, pointerReadout, growing, legend, display, probability, outlines, uncertain, review, compareWith, permalink, downloads,
];
