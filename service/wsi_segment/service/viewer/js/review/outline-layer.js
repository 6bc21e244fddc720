/**
 * The outlines under review, painted over the slide; and which of them a point is in.
 *
 * A few are painted with every frame. Many are painted once, in pieces of a few milliseconds, on a canvas that moves with
 * the slide until its next picture is complete; a change of one outline paints its surroundings alone.
 * @module
 */

import { h } from "../lib/dom.js";
import { css } from "../view/palettes.js";
import { samePlace } from "../view/stage.js";
import { shapeOf } from "./shapes.js";

/** @typedef {import("./shapes.js").Shape} Shape */
/** @typedef {import("./edits.js").Feature} Feature */
/** @typedef {import("../view/stage.js").Place} Place */
/** @typedef {"open"|"kept"|"rejected"} Status */
/** @typedef {{feature: Feature, status: Status, area: number}} Item */

/** Outlines that are painted within a frame, and with every frame while the slide moves. */
const FEW = 100;
/** Milliseconds of painting after which the browser gets its turn. */
const PIECE = 8;
/** Milliseconds for which the slide has to stand still before many outlines are painted again. */
const STILL = 120;
/** CSS pixels of the widest line, to either side. */
const MARGIN = 4;
/** CSS pixels below which an outline is painted as a dot. */
const DOT = 3;
const ORDER = { rejected: 0, open: 1, kept: 2 };

export class OutlineLayer {
  /**
   * @param {import("../view/stage.js").Stage} stage
   * @param {(name: string) => number[]} colorOf a class, by its name
   * @param {import("./box-index.js").BoxIndex<Item>} items
   */
  constructor(stage, colorOf, items) {
    this.stage = stage;
    this.colorOf = colorOf;
    this.items = items;
    /** @type {string|null} */
    this.selected = null;
    this.canvas = h("canvas", { class: "review-layer" });
    /** Over it, so that a selection paints nothing else. */
    this.top = h("canvas", { class: "review-layer" });
    /** Where the picture on the canvas belongs. @type {Place|null} */
    this.painted = null;
    /** Whether it is as the outlines are now. */
    this.current = false;
    /** The picture that follows. @type {{place: Place, canvas: HTMLCanvasElement, left: Item[]}|null} */
    this.next = null;
    /** Where the slide was last, and since when. @type {{place: Place|null, since: number}} */
    this.rest = { place: null, since: 0 };
    this.frame = 0;
    stage.addLayer(this.canvas);
    stage.addLayer(this.top);
    this.endDrawing = stage.onDraw(() => this.follow());
  }

  /**
   * @param {string|null} selected id of one of the items
   * @param {Item[]} [changed] as they were and as they are; without it, all is painted again
   */
  show(selected, changed) {
    this.selected = selected;
    const boxes = changed?.map((item) => shapeOf(item.feature).box);
    const place = this.stage.place();
    const standing = this.current && this.painted && samePlace(this.painted, place);
    if (!boxes || !standing || !boxes.every((box) => this.patch(box, place))) this.repaint();
    else this.paintSelected(place);
  }

  /** Paint all outlines on the screen again. */
  repaint() {
    this.current = false;
    this.stop();
    this.follow();
  }

  /** Bring the canvas to where the slide is now. */
  follow() {
    const place = this.stage.place();
    if (!this.rest.place || !samePlace(this.rest.place, place)) this.rest = { place, since: performance.now() };
    else if (this.current || this.frame) return;
    this.stop();
    this.paintSelected(place);
    const seen = this.items.within(boxOf(place), FEW + 1);
    this.current = seen.length <= FEW;
    this.canvas.dataset["complete"] = String(this.current);
    if (this.current) {
      this.size(this.canvas, place);
      this.paintAll(this.canvas, place, seen);
      this.canvas.style.transform = "";
      this.painted = place;
      return;
    }
    this.carry(place);
    this.frame = window.requestAnimationFrame(() => this.goOn());
  }

  /** Paint another piece, as soon as the slide stands still. */
  goOn() {
    this.frame = 0;
    const { place, since } = this.rest;
    if (!place) return;
    if (!this.next && performance.now() - since > STILL) {
      const canvas = h("canvas", { class: "review-layer" });
      this.size(canvas, place);
      this.next = { place, canvas, left: inOrder(this.items.within(boxOf(place))).reverse() };
    }
    const next = this.next;
    const context = next?.canvas.getContext("2d", { willReadFrequently: true }); // by the processor: the time it takes is known
    const until = performance.now() + PIECE;
    while (next && context && next.left.length > 0 && performance.now() < until) {
      for (const item of next.left.splice(-8).reverse()) this.paint(context, item, next.place);
      context.getImageData(0, 0, 1, 1); // browsers paint later, unless they are asked what they painted
    }
    if (!next || next.left.length > 0) {
      this.frame = window.requestAnimationFrame(() => this.goOn());
      return;
    }
    this.next = null;
    this.canvas.replaceWith(next.canvas);
    this.canvas.width = 0; // gives its memory back at once
    this.canvas = next.canvas;
    this.canvas.dataset["complete"] = "true";
    this.painted = next.place;
    this.current = true;
  }

  stop() {
    window.cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.next = null;
  }

  /**
   * Move the picture that is there with the slide, until the next one is complete.
   * @param {Place} place
   */
  carry(place) {
    const from = this.painted;
    if (!from) return;
    const zoom = from.scale / place.scale;
    this.canvas.style.transformOrigin = "0 0";
    this.canvas.style.transform = `translate(${(from.x0 - place.x0) / place.scale}px, ${(from.y0 - place.y0) / place.scale}px) scale(${zoom})`;
  }

  /**
   * Paint the surroundings of an outline again.
   * @param {readonly number[]} box
   * @param {Place} place
   * @returns {boolean} false where that is too much for a frame
   */
  patch([x0 = 0, y0 = 0, x1 = 0, y1 = 0], place) {
    const zoom = this.stage.ratio / place.scale;
    const left = Math.floor((Math.max(x0, place.x0) - place.x0) * zoom - MARGIN * this.stage.ratio);
    const top = Math.floor((Math.max(y0, place.y0) - place.y0) * zoom - MARGIN * this.stage.ratio);
    const right = Math.ceil((Math.min(x1, place.x0 + place.width) - place.x0) * zoom + MARGIN * this.stage.ratio);
    const bottom = Math.ceil((Math.min(y1, place.y0 + place.height) - place.y0) * zoom + MARGIN * this.stage.ratio);
    if (right <= left || bottom <= top) return true;
    const around = MARGIN * place.scale; // lines of others reach into it
    const seen = this.items.within([
      place.x0 + left / zoom - around, place.y0 + top / zoom - around, place.x0 + right / zoom + around, place.y0 + bottom / zoom + around,
    ]);
    const context = this.canvas.getContext("2d");
    if (seen.length > FEW || !context) return false;
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.beginPath();
    context.rect(left, top, right - left, bottom - top);
    context.clip();
    context.clearRect(left, top, right - left, bottom - top);
    for (const item of inOrder(seen)) this.paint(context, item, place);
    context.restore();
    return true;
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Place} place
   */
  size(canvas, place) {
    const { ratio } = this.stage;
    const width = Math.round((place.width / place.scale) * ratio);
    const height = Math.round((place.height / place.scale) * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Place} place
   * @param {Item[]} seen
   */
  paintAll(canvas, place, seen) {
    const context = canvas.getContext("2d");
    if (!context) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (const item of inOrder(seen)) this.paint(context, item, place);
  }

  /** @param {Place} place */
  paintSelected(place) {
    const item = this.selected === null ? null : this.items.get(this.selected);
    this.top.hidden = item === null;
    if (!item) return;
    this.size(this.top, place);
    this.paintAll(this.top, place, [item]);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Item} item
   * @param {Place} place
   */
  paint(context, { feature, status }, place) {
    const shape = shapeOf(feature);
    const zoom = this.stage.ratio / place.scale;
    const chosen = context.canvas === this.top;
    const color = status === "rejected" ? "rgb(255 255 255 / 70%)" : css(this.colorOf(feature.properties.classification.name));
    const [x0, y0, x1, y1] = shape.box;
    const pixel = place.scale;
    context.setTransform(zoom, 0, 0, zoom, (shape.corner.x - place.x0) * zoom, (shape.corner.y - place.y0) * zoom);
    if (!chosen && Math.max(x1 - x0, y1 - y0) < DOT * pixel) {
      context.fillStyle = color;
      context.fillRect(0, 0, DOT * pixel, DOT * pixel);
      return;
    }
    context.lineJoin = "round";
    context.setLineDash(status === "kept" ? [] : status === "open" ? [6 * pixel, 4 * pixel] : [2 * pixel, 5 * pixel]);
    if (chosen) {
      context.fillStyle = "rgb(255 255 255 / 20%)";
      context.fill(shape.path, "evenodd");
    }
    this.stroke(context, shape.path, status === "rejected" ? "rgb(0 0 0 / 35%)" : "rgb(0 0 0 / 75%)", (chosen ? 10 : status === "kept" ? 5 : 4) * pixel);
    if (chosen) this.stroke(context, shape.path, "rgb(255 255 255)", 8 * pixel); // told from its neighbours, whatever its class
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
    const hit = this.items.within([point.x, point.y, point.x, point.y]).filter(({ feature }) => {
      const shape = shapeOf(feature);
      return context.isPointInPath(shape.path, point.x - shape.corner.x, point.y - shape.corner.y, "evenodd");
    });
    return hit.sort((a, b) => shapeOf(a.feature).area - shapeOf(b.feature).area)[0]?.feature.id ?? null;
  }

  close() {
    this.stop();
    this.endDrawing();
    this.canvas.remove();
    this.top.remove();
  }
}

/**
 * @param {Place} place
 * @returns {[number, number, number, number]}
 */
function boxOf(place) {
  return [place.x0, place.y0, place.x0 + place.width, place.y0 + place.height];
}

/**
 * Return outlines as they lie over each other: those that are kept over those that are not, small ones over large ones.
 * @param {Item[]} items
 */
function inOrder(items) {
  return items.sort((a, b) => ORDER[a.status] - ORDER[b.status] || b.area - a.area);
}
