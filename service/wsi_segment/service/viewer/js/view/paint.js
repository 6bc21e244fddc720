/**
 * Pictures of tiles: numbers become colours by a table, filled or as outlines.
 * @module
 */

import { canvasSettings } from "./drawers.js";

/** @typedef {import("./tile-cache.js").Tile} Tile */

/**
 * Make the table of colours of a mask.
 * @param {{id: number, color: number[]}[]} classes
 * @param {ReadonlySet<number>} hidden
 * @returns {Uint32Array} RGBA by class id, as the pixels of an ImageData are stored; 0 is transparent
 */
export function classTable(classes, hidden) {
  const table = new Uint32Array(256);
  for (const entry of classes) {
    if (entry.id === 0 || hidden.has(entry.id)) continue;
    table[entry.id] = packed(entry.color);
  }
  return table;
}

/**
 * Pack a colour; an ImageData has its bytes in the order R, G, B, A, on all machines that browsers run on.
 * @param {readonly number[]} color sRGB, 0 to 255
 */
export function packed(color) {
  const [red = 0, green = 0, blue = 0] = color;
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** Where pixels are put together; a picture copies them. To take new memory for each would have a browser collect garbage amid frames. */
let memory = new ArrayBuffer(0);

/**
 * Return an image of a tile's size; what stands in it is of no meaning, and it is valid until the next call.
 * @param {Tile} tile
 */
function imageFor({ width, height }) {
  const size = 4 * width * height;
  if (memory.byteLength < size) memory = new ArrayBuffer(size);
  return new ImageData(new Uint8ClampedArray(memory, 0, size), width, height);
}

/**
 * Return the pixels of an image as RGBA.
 * @param {ImageData} image
 */
function pixelsOf(image) {
  return new Uint32Array(image.data.buffer, 0, image.width * image.height);
}

/**
 * Paint a tile, each pixel in its colour.
 * @param {Tile} tile
 * @param {Uint32Array} table
 */
export function paintFilled(tile, table) {
  const image = imageFor(tile);
  const pixels = pixelsOf(image);
  const values = tile.values;
  for (let i = 0; i < values.length; i += 1) pixels[i] = /** @type {number} */ (table[/** @type {number} */ (values[i])]);
  return put(tile, image);
}

/**
 * Paint the pixels of a tile whose left, right, upper or lower neighbour is of another class.
 * @param {Tile} tile
 * @param {Uint32Array} table
 * @param {(dx: number, dy: number) => Tile|null} neighbour the tile beside this one, where it is there
 */
export function paintOutlines(tile, table, neighbour) {
  const { width, height, values } = tile;
  const image = imageFor(tile);
  const pixels = pixelsOf(image).fill(0);
  const [left, right, above, below] = [neighbour(-1, 0), neighbour(1, 0), neighbour(0, -1), neighbour(0, 1)];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const i = y * width + x;
      const id = /** @type {number} */ (values[i]);
      const color = /** @type {number} */ (table[id]);
      if (color === 0) continue;
      const l = x > 0 ? values[i - 1] : left ? left.values[y * left.width + left.width - 1] : id;
      const r = x < width - 1 ? values[i + 1] : right ? right.values[y * right.width] : id;
      const a = y > 0 ? values[i - width] : above ? above.values[(above.height - 1) * above.width + x] : id;
      const b = y < height - 1 ? values[i + width] : below ? below.values[x] : id;
      if (l !== id || r !== id || a !== id || b !== id) pixels[i] = color;
    }
  }
  return put(tile, image);
}

/**
 * Return the lines between the classes of a tile by class, for views in which a mask pixel covers several of the screen.
 * A line between two classes that are shown belongs to the larger id; the frame is the tile's own pixels.
 * @param {Tile} tile
 * @param {Uint32Array} table what has no colour in it is not shown
 * @param {(dx: number, dy: number) => Tile|null} neighbour
 * @returns {Path2D[]} sparse, by class id
 */
export function edgesOf(tile, table, neighbour) {
  const { width, height, values } = tile;
  /** @type {Path2D[]} */
  const paths = [];
  const right = neighbour(1, 0);
  const below = neighbour(0, 1);
  const at = (/** @type {number} */ x, /** @type {number} */ y) => {
    const beside = x >= width ? right : below;
    let id = /** @type {number} */ (values[y * width + x]);
    if (x >= width || y >= height) {
      if (!beside) return -1;
      id = /** @type {number} */ (x >= width ? beside.values[y * beside.width] : beside.values[x]);
    }
    return table[id] === 0 ? 0 : id;
  };
  const line = (/** @type {number} */ id, /** @type {number[]} */ [x0 = 0, y0 = 0, x1 = 0, y1 = 0]) => {
    const path = (paths[id] ??= new Path2D());
    path.moveTo(x0, y0);
    path.lineTo(x1, y1);
  };
  for (const upright of [true, false]) {
    const [outer, inner] = upright ? [width, height] : [height, width];
    for (let u = 0; u < outer; u += 1) {
      let from = 0;
      let owner = 0;
      for (let v = 0; v <= inner; v += 1) {
        let next = 0;
        if (v < inner) {
          const here = upright ? at(u, v) : at(v, u);
          const there = upright ? at(u + 1, v) : at(v, u + 1);
          if (here !== there && there >= 0) next = Math.max(here, there);
        }
        if (next === owner) continue;
        if (owner > 0) line(owner, upright ? [u + 1, from, u + 1, v] : [from, u + 1, v, u + 1]);
        from = v;
        owner = next;
      }
    }
  }
  return paths;
}

/**
 * @param {Tile} tile
 * @param {ImageData} image
 */
function put(tile, image) {
  const canvas = tile.picture ?? document.createElement("canvas");
  if (canvas.width !== tile.width || canvas.height !== tile.height) {
    canvas.width = tile.width;
    canvas.height = tile.height;
  }
  canvas.getContext("2d", canvasSettings())?.putImageData(image, 0, 0);
  return canvas;
}
