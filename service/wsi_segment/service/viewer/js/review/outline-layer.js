/**
 * The outlines under review, painted over the slide with every frame; and which of them a point is in.
 * @module
 */

import { h } from "../lib/dom.js";
import { css } from "../view/palettes.js";
import { shapeOf } from "./shapes.js";

/** @typedef {import("./shapes.js").Shape} Shape */
/** @typedef {import("./edits.js").Feature} Feature */
/** @typedef {"open"|"kept"|"rejected"} Status */
/** @typedef {{feature: Feature, status: Status}} Item */

export class OutlineLayer {
  /**
   * @param {import("../view/stage.js").Stage} stage
   * @param {(name: string) => number[]} colorOf a class, by its name
   */
  constructor(stage, colorOf) {
    this.stage = stage;
    this.colorOf = colorOf;
    /** @type {Item[]} */
    this.items = [];
    /** @type {string|null} */
    this.selected = null;
    this.canvas = h("canvas", { class: "review-layer" });
    stage.addLayer(this.canvas);
    this.endDrawing = stage.onDraw(() => this.draw());
  }

  /**
   * @param {Item[]} items
   * @param {string|null} selected id of one of them
   */
  show(items, selected) {
    this.items = items;
    this.selected = selected;
    this.draw();
  }

  draw() {
    const { ratio } = this.stage;
    const place = this.stage.place();
    const width = Math.round((place.width / place.scale) * ratio);
    const height = Math.round((place.height / place.scale) * ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const context = this.canvas.getContext("2d");
    if (!context) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    const seen = this.items.filter(({ feature }) => {
      const [x0, y0, x1, y1] = shapeOf(feature).box;
      return x1 >= place.x0 && y1 >= place.y0 && x0 <= place.x0 + place.width && y0 <= place.y0 + place.height;
    });
    const last = seen.filter((one) => one.feature.id === this.selected);
    for (const item of [...seen.filter((one) => one.feature.id !== this.selected), ...last]) this.paint(context, item, place);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Item} item
   * @param {import("../view/stage.js").Place} place
   */
  paint(context, { feature, status }, place) {
    const shape = shapeOf(feature);
    const zoom = this.stage.ratio / place.scale;
    context.setTransform(zoom, 0, 0, zoom, (shape.corner.x - place.x0) * zoom, (shape.corner.y - place.y0) * zoom);
    const pixel = place.scale;
    const chosen = feature.id === this.selected;
    context.lineJoin = "round";
    context.setLineDash(status === "kept" ? [] : status === "open" ? [6 * pixel, 4 * pixel] : [2 * pixel, 5 * pixel]);
    if (chosen) {
      context.fillStyle = "rgb(255 255 255 / 20%)";
      context.fill(shape.path, "evenodd");
    }
    this.stroke(context, shape.path, status === "rejected" ? "rgb(0 0 0 / 35%)" : "rgb(0 0 0 / 75%)", (chosen ? 7 : status === "kept" ? 5 : 4) * pixel);
    const color = status === "rejected" ? "rgb(255 255 255 / 70%)" : css(this.colorOf(feature.properties.classification.name));
    this.stroke(context, shape.path, color, (chosen ? 4 : status === "kept" ? 3 : 2) * pixel);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Path2D} path
   * @param {string} color
   * @param {number} width
   */
  stroke(context, path, color, width) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.stroke(path);
  }

  /**
   * Return the smallest outline that a point is in.
   * @param {{x: number, y: number}} point in level-0 pixels
   * @returns {string|null} its id
   */
  at(point) {
    const context = this.canvas.getContext("2d");
    if (!context) return null;
    context.setTransform(1, 0, 0, 1, 0, 0);
    const hit = this.items.filter(({ feature }) => {
      const shape = shapeOf(feature);
      const [x0, y0, x1, y1] = shape.box;
      return point.x >= x0 && point.y >= y0 && point.x <= x1 && point.y <= y1 &&
        context.isPointInPath(shape.path, point.x - shape.corner.x, point.y - shape.corner.y, "evenodd");
    });
    return hit.sort((a, b) => shapeOf(a.feature).area - shapeOf(b.feature).area)[0]?.feature.id ?? null;
  }

  close() {
    this.endDrawing();
    this.canvas.remove();
  }
}
