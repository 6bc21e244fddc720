/**
 * The map of where two masks differ: painted over both from the tiles that both have on the screen.
 * @module
 */

import { h } from "../lib/dom.js";
import { packed } from "../view/paint.js";

/** @typedef {import("../view/pane.js").Pane} Pane */
/** @typedef {import("../view/tile-cache.js").Tile} Tile */

/** Where the classes differ, and where only one of the masks has one. */
export const DIFFERENT = [214, 0, 147];
export const ONLY_ONE = [90, 90, 90];
const MOST_KEPT = 256;

export class DifferenceLayer {
  /**
   * @param {Pane} first whose pixels count
   * @param {Pane} second
   */
  constructor(first, second) {
    this.first = first;
    this.second = second;
    this.visible = false;
    /** @type {Map<string, {picture: HTMLCanvasElement, complete: boolean}>} */
    this.pictures = new Map();
    /** Ids of the first mask for those of the second, by name; 255 for a class that only the second has. */
    this.same = Uint8Array.from({ length: 256 }, (_, id) => {
      const name = second.result.table.classes.find((entry) => entry.id === id)?.name;
      return first.result.table.classes.find((entry) => entry.name === name)?.id ?? 255;
    });
    this.canvases = [first, second].map((pane) => {
      const canvas = h("canvas", { class: "difference-layer" });
      pane.stage.addLayer(canvas);
      return canvas;
    });
    this.again = () => this.draw();
    for (const pane of [first, second]) pane.layer.addEventListener("drawn", this.again);
  }

  /** @param {boolean} visible */
  show(visible) {
    this.visible = visible;
    for (const pane of [this.first, this.second]) pane.layer.setStyle({ needed: visible });
    for (const canvas of this.canvases) canvas.hidden = !visible;
    this.draw();
  }

  draw() {
    if (!this.visible) return;
    const { layer } = this.first;
    const { width, height } = layer.canvas;
    const [canvas, copy] = this.canvases;
    const context = canvas?.getContext("2d");
    if (!canvas || !copy || !context) return;
    for (const one of [canvas, copy]) if (one.width !== width || one.height !== height) Object.assign(one, { width, height });
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    const side = layer.table.tile_size;
    for (const { z, x, y } of layer.visibleTiles()) {
      const tile = layer.cache.peek(z, x, y);
      if (!tile) continue;
      const target = layer.onCanvas(z, [x * side, y * side, x * side + tile.width, y * side + tile.height]);
      context.drawImage(this.pictureOf(tile), target.x, target.y, target.width, target.height);
    }
    const beside = copy.getContext("2d");
    beside?.clearRect(0, 0, width, height);
    if (width && height) beside?.drawImage(canvas, 0, 0);
  }

  /** @param {Tile} tile */
  pictureOf(tile) {
    const key = `${tile.z}/${tile.x}/${tile.y}/${this.beside(tile.z).z}`;
    const known = this.pictures.get(key);
    if (known?.complete) return known.picture;
    const made = this.paint(tile);
    this.pictures.delete(key);
    this.pictures.set(key, made);
    const oldest = this.pictures.keys().next();
    if (this.pictures.size > MOST_KEPT && !oldest.done) this.pictures.delete(oldest.value);
    return made.picture;
  }

  /**
   * Return the level of the second mask whose tiles are there when the first shows a level, and its geometry.
   * @param {number} z level of the first
   */
  beside(z) {
    const { layer } = this.second;
    const { scale } = this.first.stage.place();
    const own = layer.levelFor(scale / this.first.stage.ratio);
    const downsample = this.first.layer.table.levels[z]?.downsample ?? 1;
    return { z: own, downsample: layer.table.levels[own]?.downsample ?? downsample };
  }

  /**
   * @param {Tile} tile of the first mask
   * @returns {{picture: HTMLCanvasElement, complete: boolean}} complete: whether all of the second was there
   */
  paint(tile) {
    const picture = h("canvas");
    Object.assign(picture, { width: tile.width, height: tile.height });
    const context = picture.getContext("2d");
    if (!context) return { picture, complete: true };
    const image = context.createImageData(tile.width, tile.height);
    const colors = new Uint32Array(image.data.buffer);
    const [different, onlyOne] = [packed(DIFFERENT), packed(ONLY_ONE)];
    const read = this.reader(tile);
    let complete = true;
    for (let row = 0; row < tile.height; row += 1) {
      for (let column = 0; column < tile.width; column += 1) {
        const at = row * tile.width + column;
        const id = tile.values[at] ?? 0;
        const other = read(column, row);
        if (other < 0) complete = false;
        else if (id === 0 || other === 0) colors[at] = id === other ? 0 : onlyOne;
        else if (this.same[other] !== id) colors[at] = different;
      }
    }
    context.putImageData(image, 0, 0);
    return { picture, complete };
  }

  /**
   * Return what reads the second mask under the middle of a pixel of a tile of the first: its class id, 0 outside, -1
   * where its tile is not there yet.
   * @param {Tile} tile
   */
  reader(tile) {
    const { table } = this.first.layer;
    const { layer } = this.second;
    const side = table.tile_size;
    const from = table.levels[tile.z]?.downsample ?? 1;
    const { z, downsample } = this.beside(tile.z);
    const level = layer.table.levels[z];
    const reach = layer.table.tile_size;
    const [left = 0, top = 0] = table.origin;
    const [otherLeft = 0, otherTop = 0] = layer.table.origin;
    return (/** @type {number} */ column, /** @type {number} */ row) => {
      const x = Math.floor((left + (tile.x * side + column + 0.5) * from - otherLeft) / downsample);
      const y = Math.floor((top + (tile.y * side + row + 0.5) * from - otherTop) / downsample);
      if (!level || x < 0 || y < 0 || x >= level.width || y >= level.height) return 0;
      const other = layer.cache.peek(z, Math.floor(x / reach), Math.floor(y / reach));
      return other ? other.values[(y % reach) * other.width + (x % reach)] ?? 0 : -1;
    };
  }

  close() {
    for (const pane of [this.first, this.second]) pane.layer.removeEventListener("drawn", this.again);
    for (const canvas of this.canvases) canvas.remove();
  }
}
