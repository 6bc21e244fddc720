/**
 * A picture of what is seen, with legend and scale bar, as PNG.
 * @module
 */

import { bindKeys } from "../app/keys.js";
import { showError } from "../app/notices.js";
import { iconButton } from "../lib/dom.js";
import { length, percent } from "../lib/format.js";
import { css, perceptual } from "./palettes.js";
import { roundLength } from "./scale-bar.js";

/** @typedef {import("./pane.js").Pane} Pane */

/** @type {import("./page.js").Feature} */
export function snapshot({ pane, toolbar, disposal }) {
  toolbar.append(iconButton("camera", () => void savePicture(pane), { name: "Save a picture", title: "Save what is seen as PNG, with legend and scale bar (p)" }));
  disposal.add(bindKeys([{ key: "p", does: "save a picture of the view", action: () => void savePicture(pane) }]));
}

/**
 * Save what is seen as a file of this computer.
 * @param {Pane} pane
 */
export async function savePicture(pane) {
  try {
    const blob = await pictureOf(pane);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${(pane.result.job.slide_name ?? pane.result.job.id).replace(/\.[a-z]+$/i, "")}.png`;
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) {
    showError(error);
  }
}

/**
 * Draw slide, mask, legend and scale bar into one picture.
 * @param {Pane} pane
 * @returns {Promise<Blob>}
 */
export function pictureOf(pane) {
  const { stage, layer } = pane;
  const canvas = document.createElement("canvas");
  canvas.width = layer.canvas.width;
  canvas.height = layer.canvas.height;
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser cannot draw the picture.");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  stage.viewer.forceRedraw();
  const slide = /** @type {HTMLCanvasElement} */ (/** @type {any} */ (stage.viewer.drawer).canvas);
  context.drawImage(slide, 0, 0, canvas.width, canvas.height);
  context.drawImage(layer.canvas, 0, 0);
  const ratio = stage.ratio;
  context.scale(ratio, ratio);
  const [width, height] = [canvas.width / ratio, canvas.height / ratio];
  drawLegend(context, pane);
  drawScaleBar(context, pane, { width, height });
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture is too large."))), "image/png");
  });
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Pane} pane
 */
function drawLegend(context, pane) {
  const { hidden, visible, probability, threshold } = pane.state.get();
  if (!visible) return;
  if (probability !== null) {
    drawRamp(context, pane.result.table.classes.find((entry) => entry.id === probability)?.name ?? "", threshold);
    return;
  }
  const classes = pane.classes().filter((entry) => entry.id > 0 && !hidden.has(entry.id));
  if (classes.length === 0) return;
  const tissue = pane.result.table.classes.reduce((sum, entry) => sum + (entry.id > 0 ? entry.pixels : 0), 0);
  const lines = classes.map((entry) => ({ color: css(entry.color), text: `${entry.name}  ${tissue ? percent(entry.pixels / tissue) : ""}` }));
  context.font = "13px sans-serif";
  const width = Math.max(...lines.map((line) => context.measureText(line.text).width)) + 42;
  plate(context, [10, 10, width, lines.length * 20 + 12]);
  lines.forEach((line, index) => {
    const y = 20 + index * 20;
    context.fillStyle = line.color;
    context.fillRect(18, y, 14, 14);
    context.fillStyle = "#ffffff";
    context.fillText(line.text, 40, y + 12);
  });
}

/**
 * Draw what colours mean where the probability of a class is shown: those from the threshold on.
 * @param {CanvasRenderingContext2D} context
 * @param {string} name of the class
 * @param {number} threshold 0 to 1
 */
function drawRamp(context, name, threshold) {
  context.font = "13px sans-serif";
  const title = `Probability of ${name}`;
  const [from, to] = [`from ${Math.round(100 * threshold)} %`, "to 100 %"];
  const width = Math.ceil(Math.max(160, context.measureText(title).width));
  plate(context, [10, 10, width + 16, 68]);
  for (let x = 0; x < width; x += 1) {
    context.fillStyle = css(perceptual(threshold + (1 - threshold) * (x / (width - 1))));
    context.fillRect(18 + x, 38, 1, 12);
  }
  context.fillStyle = "#ffffff";
  context.fillText(title, 18, 28);
  context.fillText(from, 18, 68);
  context.fillText(to, 18 + width - context.measureText(to).width, 68);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Pane} pane
 * @param {{width: number, height: number}} size
 */
function drawScaleBar(context, pane, { width, height }) {
  const { um, pixels } = roundLength(pane.stage.place().scale * pane.result.table.mpp_x);
  const x = width - pixels - 22;
  plate(context, [x - 10, height - 46, pixels + 20, 36]);
  context.fillStyle = "#ffffff";
  context.font = "13px sans-serif";
  context.fillText(length(um), x, height - 28);
  context.fillRect(x, height - 21, pixels, 4);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number, number, number]} box
 */
function plate(context, box) {
  context.fillStyle = "rgb(20 23 28 / 82%)";
  context.fillRect(...box);
}
