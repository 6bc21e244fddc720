/**
 * The mask over the slide: a canvas that is drawn with every frame of the viewer.
 *
 * A layer of its own, and no second image of OpenSeadragon: class ids must never be mixed with their neighbours, while
 * the slide is to be smooth, and OpenSeadragon has one setting for both; and another colour needs no pass through its
 * cache.
 * @module
 */

import { canvasSettings } from "./drawers.js";
import { edgesOf, paintFilled, paintOutlines } from "./paint.js";
import { samePlace } from "./stage.js";
import { TileCache } from "./tile-cache.js";

/** @typedef {import("../server/types.js").TileTable} TileTable */
/** @typedef {import("./stage.js").Stage} Stage */
/** @typedef {import("./tile-cache.js").Tile} Tile */

/**
 * @typedef {object} LayerStyle
 * @property {Uint32Array} table colour by number
 * @property {number} opacity 0 to 1
 * @property {boolean} outline
 * @property {boolean} visible
 * @property {boolean} [needed] whether its tiles are fetched though it is not visible
 */

const WIDE_PIXEL = 3;
/** Pixels of the screen from which on a mask pixel is wide enough for lines between pixels instead of rows of them. */
const LINE_WIDTH = 2;

const TOGETHER_MILLISECONDS = 60;
/** Tiles that come within this time are drawn in one frame; the last of a view is drawn at once. */

export class MaskLayer extends EventTarget {
  /**
   * Tells of `drawn` (after each frame), `complete` (all tiles of the view are there) and `gone`.
   * @param {Stage} stage
   * @param {TileTable} table
   * @param {(z: number, x: number, y: number) => string} path of a tile
   * @param {LayerStyle} style
   */
  constructor(stage, table, path, style) {
    super();
    this.stage = stage;
    this.table = table;
    this.style = style;
    this.version = 0;
    this.complete = false;
    this.frame = 0;
    this.soon = 0;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "mask-layer";
    stage.addLayer(this.canvas);
    this.cache = this.makeCache(path);
    /** What the canvas shows; null where something else is to be drawn. @type {import("./stage.js").Place|null} */
    this.shown = null;
    this.endDrawing = stage.onDraw(() => this.follow());
    this.ask();
    this.schedule();
  }

  /** @param {(z: number, x: number, y: number) => string} path */
  makeCache(path) {
    const cache = new TileCache(path, this.table.tile_size);
    cache.addEventListener("tile", (event) => this.arrived(/** @type {CustomEvent<Tile>} */ (event).detail));
    cache.addEventListener("idle", () => this.schedule());
    cache.addEventListener("again", () => this.schedule());
    cache.addEventListener("gone", (event) => this.dispatchEvent(new CustomEvent("gone", { detail: /** @type {CustomEvent} */ (event).detail })));
    return cache;
  }

  /**
   * Show another source of numbers with the same geometry.
   * @param {(z: number, x: number, y: number) => string} path
   * @param {TileTable} [table]
   */
  setSource(path, table) {
    this.cache.close();
    if (table) this.table = table;
    this.cache = this.makeCache(path);
    this.schedule();
  }

  /** @param {Partial<LayerStyle>} style */
  setStyle(style) {
    const repaint = (style.table && style.table !== this.style.table) || (style.outline ?? this.style.outline) !== this.style.outline;
    this.style = { ...this.style, ...style };
    if (repaint) this.version += 1;
    this.schedule();
  }

  close() {
    window.clearTimeout(this.soon);
    this.endDrawing();
    this.cache.close();
    this.canvas.remove();
    window.cancelAnimationFrame(this.frame);
  }

  /** Draw with the next frame, though the slide stands still. */
  schedule() {
    this.shown = null;
    if (this.frame) return;
    this.frame = window.requestAnimationFrame(() => {
      this.frame = 0;
      this.follow();
    });
  }

  /** Draw, unless the canvas shows the place and all that is known of it: each tile of the slide is a frame of the viewer. */
  follow() {
    if (!this.shown || !samePlace(this.shown, this.stage.place())) this.draw();
  }

  /** @param {Tile} tile */
  arrived(tile) {
    for (const [dx, dy] of /** @type {[number, number][]} */ ([[1, 0], [-1, 0], [0, 1], [0, -1]])) {
      const beside = this.style.outline && this.cache.peek(tile.z, tile.x + dx, tile.y + dy);
      if (beside) {
        beside.painted = -1;
        beside.edges = null;
      }
    }
    this.soon ||= window.setTimeout(() => { this.soon = 0; this.schedule(); }, TOGETHER_MILLISECONDS);
  }

  /**
   * Ask for the tiles of the view.
   * @returns {{z: number, x: number, y: number}[]} all of them
   */
  ask() {
    if (!this.style.visible && !this.style.needed) return [];
    const tiles = this.visibleTiles();
    this.cache.want(tiles);
    return tiles;
  }

  /**
   * Return the level that fits the screen best: its pixels are at least as fine as those of the screen.
   * @param {number} perPixel level-0 pixels per pixel of the screen
   */
  levelFor(perPixel) {
    const finest = this.table.levels[0]?.downsample ?? 1;
    const level = Math.floor(Math.log2(perPixel / finest) + 0.01);
    return Math.min(this.table.levels.length - 1, Math.max(0, level));
  }

  /**
   * Return where a level has a point: tile, and pixel of the tile.
   * @param {number} x in level-0 pixels
   * @param {number} y
   * @param {number} z by default the level that fits the screen
   */
  pixelAt(x, y, z = this.levelFor(this.stage.place().scale / this.stage.ratio)) {
    const side = this.table.tile_size;
    const [left = 0, top = 0] = this.table.origin;
    const level = this.table.levels[z];
    if (!level) return null;
    const [column, row] = [Math.floor((x - left) / level.downsample), Math.floor((y - top) / level.downsample)];
    if (column < 0 || row < 0 || column >= level.width || row >= level.height) return null;
    return { z, x: Math.floor(column / side), y: Math.floor(row / side), column: column % side, row: row % side };
  }

  /**
   * Return the class id, or the number, of a point, as far as it is on the screen.
   * @param {number} x in level-0 pixels
   * @param {number} y
   * @param {TileCache} cache of this or of another source with the same geometry
   * @returns {number|null}
   */
  valueAt(x, y, cache = this.cache) {
    for (let at = this.pixelAt(x, y); at; at = this.pixelAt(x, y, at.z + 1)) {
      const tile = cache.peek(at.z, at.x, at.y);
      if (tile) return tile.values[at.row * tile.width + at.column] ?? null;
    }
    return null;
  }

  /**
   * Return the level and the tiles that the screen shows now, those in its middle first.
   * @returns {{z: number, x: number, y: number}[]}
   */
  visibleTiles() {
    if (this.table.levels.length === 0) return []; // nothing of the mask is known yet
    const place = this.stage.place();
    const z = this.levelFor(place.scale / this.stage.ratio);
    const level = /** @type {{downsample: number, width: number, height: number}} */ (this.table.levels[z]);
    const side = this.table.tile_size;
    const reach = side * level.downsample;
    const [left = 0, top = 0] = this.table.origin;
    const first = { x: Math.max(0, Math.floor((place.x0 - left) / reach)), y: Math.max(0, Math.floor((place.y0 - top) / reach)) };
    const last = {
      x: Math.min(Math.ceil(level.width / side), Math.ceil((place.x0 + place.width - left) / reach)),
      y: Math.min(Math.ceil(level.height / side), Math.ceil((place.y0 + place.height - top) / reach)),
    };
    const found = [];
    for (let y = first.y; y < last.y; y += 1) for (let x = first.x; x < last.x; x += 1) found.push({ z, x, y });
    const middle = { x: (first.x + last.x - 1) / 2, y: (first.y + last.y - 1) / 2 };
    const far = (/** @type {{x: number, y: number}} */ one) => (one.x - middle.x) ** 2 + (one.y - middle.y) ** 2;
    return found.sort((a, b) => far(a) - far(b));
  }

  draw() {
    const ratio = this.stage.ratio;
    const place = this.stage.place();
    const width = Math.round((place.width / place.scale) * ratio);
    const height = Math.round((place.height / place.scale) * ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const context = this.canvas.getContext("2d", canvasSettings());
    if (!context || width === 0 || height === 0) return;
    this.shown = place;
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    const tiles = this.ask();
    context.globalAlpha = this.style.opacity;
    let missing = 0;
    for (const { z, x, y } of tiles) {
      const tile = this.cache.get(z, x, y);
      if (tile === undefined) {
        missing += 1;
        if (this.style.visible) this.drawCoarser(context, { z, x, y });
      } else if (tile) {
        if (this.style.visible) this.drawTile(context, tile);
        if (tile.stale) missing += 1;
      }
    }
    this.complete = missing === 0;
    this.dispatchEvent(new Event("drawn"));
    if (this.complete) this.dispatchEvent(new Event("complete"));
  }

  /**
   * Return where pixels of a level come to lie on the canvas: whole pixels, so that neighbours neither overlap nor part.
   * @param {number} z
   * @param {number[]} box x0, y0, x1, y1 in pixels of the level
   */
  onCanvas(z, [x0 = 0, y0 = 0, x1 = 0, y1 = 0]) {
    const place = this.stage.place();
    const { downsample } = /** @type {{downsample: number}} */ (this.table.levels[z]);
    const [left = 0, top = 0] = this.table.origin;
    const factor = this.stage.ratio / place.scale;
    const across = (/** @type {number} */ value) => Math.round((left + value * downsample - place.x0) * factor);
    const down = (/** @type {number} */ value) => Math.round((top + value * downsample - place.y0) * factor);
    return { x: across(x0), y: down(y0), width: across(x1) - across(x0), height: down(y1) - down(y0) };
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Tile} tile
   */
  drawTile(context, tile) {
    const side = this.table.tile_size;
    const left = tile.x * side;
    const top = tile.y * side;
    const target = this.onCanvas(tile.z, [left, top, left + tile.width, top + tile.height]);
    const wide = this.style.outline && target.width >= WIDE_PIXEL * tile.width;
    if (wide) {
      this.strokeTile(context, tile, target);
      return;
    }
    context.drawImage(this.pictureOf(tile), target.x, target.y, target.width, target.height);
  }

  /** @param {Tile} tile */
  pictureOf(tile) {
    if (tile.picture === null || tile.painted !== this.version) {
      tile.picture = this.style.outline
        ? paintOutlines(tile, this.style.table, this.beside(tile))
        : paintFilled(tile, this.style.table);
      tile.painted = this.version;
    }
    this.cache.use(tile);
    return tile.picture;
  }

  /** @param {Tile} tile */
  beside(tile) {
    return (/** @type {number} */ dx, /** @type {number} */ dy) => this.cache.peek(tile.z, tile.x + dx, tile.y + dy);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Tile} tile
   * @param {{x: number, y: number, width: number, height: number}} target
   */
  strokeTile(context, tile, target) {
    if (tile.edges === null || tile.edged !== this.version) {
      tile.edges = edgesOf(tile, this.style.table, this.beside(tile));
      tile.edged = this.version;
    }
    const scale = target.width / tile.width;
    context.save();
    context.translate(target.x, target.y);
    context.scale(scale, target.height / tile.height);
    context.lineWidth = (LINE_WIDTH * this.stage.ratio) / scale;
    context.lineCap = "square";
    tile.edges.forEach((path, id) => {
      const color = this.style.table[id] ?? 0;
      if (color === 0) return;
      context.strokeStyle = `rgb(${color & 255} ${(color >> 8) & 255} ${(color >> 16) & 255})`;
      context.stroke(path);
    });
    context.restore();
  }

  /**
   * Draw the part of a coarser tile that lies where one is missing.
   * @param {CanvasRenderingContext2D} context
   * @param {{z: number, x: number, y: number}} missing
   */
  drawCoarser(context, { z, x, y }) {
    const side = this.table.tile_size;
    const level = /** @type {{width: number, height: number}} */ (this.table.levels[z]);
    const box = [x * side, y * side, Math.min(level.width, (x + 1) * side), Math.min(level.height, (y + 1) * side)];
    for (let up = 1; z + up < this.table.levels.length; up += 1) {
      const tile = this.cache.peek(z + up, x >> up, y >> up);
      if (!tile) continue;
      const part = 2 ** up;
      const [x0 = 0, y0 = 0, x1 = 0, y1 = 0] = box.map((value, index) => value / part - (index % 2 ? tile.y : tile.x) * side);
      const target = this.onCanvas(z, box);
      context.drawImage(this.pictureOf(tile), x0, y0, x1 - x0, y1 - y0, target.x, target.y, target.width, target.height);
      return;
    }
  }
}
