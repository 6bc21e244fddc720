/**
 * Tiles of numbers (class ids, or a probability) of one source: fetched when they are wanted, the last used kept.
 *
 * Memory bound: `MOST_KEPT` tiles of 64 KiB of numbers and `MOST_PICTURES` pictures of 256 KiB, more only while a screen
 * needs more. Browsers give the memory of a canvas back when they please; one without a size has none.
 * @module
 */

import { server, send } from "../server/api.js";
import { decodeGreyPng } from "./grey-png.js";
import { MOST_ACROSS, blocksOf, partOf, tilesOf } from "./tile-blocks.js";

/**
 * @typedef {object} Tile
 * @property {number} z
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
 * @property {Uint8Array} values
 * @property {HTMLCanvasElement|null} picture painted for the style of a number
 * @property {number} painted number of that style; -1 for none
 * @property {Path2D[]|null} edges lines between classes, of the style of a number too
 * @property {number} edged
 * @property {boolean} stale whether another version is on its way
 */

/** @typedef {import("./tile-blocks.js").Block} Block */

const MOST_KEPT = 384;
const MOST_PICTURES = 96;
/** Blocks under way at a time, so that most connections are left for the slide. */
const AT_ONCE = 2;
const RETRY_MILLISECONDS = 2000;

/** @param {number} z @param {number} x @param {number} y */
export function keyOf(z, x, y) {
  return `${z}/${x}/${y}`;
}

export class TileCache extends EventTarget {
  /**
   * Tells of `tile` (detail: the tile), of `gone` (detail: the error), of `idle` when nothing is wanted any more, and of
   * `again` when tiles that did not come may be wanted once more.
   * @param {(z: number, x: number, y: number) => string} path of a tile
   * @param {number} side of a tile, in pixels
   * @param {number} [mostKept] tiles, unless more are wanted at once
   */
  constructor(path, side, mostKept = MOST_KEPT) {
    super();
    this.path = path;
    this.side = side;
    /** @type {Map<string, Tile|null>} null where the server has no such tile */
    this.tiles = new Map();
    /** Tiles that have a picture, the last used last. @type {Set<Tile>} */
    this.pictures = new Set();
    this.mostPictures = MOST_PICTURES;
    this.mostKept = mostKept;
    this.most = mostKept;
    /** @type {Block[]} */
    this.queue = [];
    /** Tiles beside each other in a block. */
    this.mostAcross = MOST_ACROSS;
    /** Blocks that are under way. */
    this.asked = 0;
    /** Their tiles. @type {Set<string>} */
    this.loading = new Set();
    /** Tiles that did not come, for a while: who draws wants them with every frame. @type {Set<string>} */
    this.resting = new Set();
    this.closed = false;
    /** Tiles that were fetched, for tests and measurements. */
    this.fetched = 0;
    this.onBack = () => {
      this.resting.clear();
      this.dispatchEvent(new Event("again"));
    };
    server.addEventListener("back", this.onBack);
  }

  /**
   * Return a tile that is there, and count it as used.
   * @param {number} z @param {number} x @param {number} y
   * @returns {Tile|null|undefined} undefined where it is not known yet
   */
  get(z, x, y) {
    const key = keyOf(z, x, y);
    const tile = this.tiles.get(key);
    if (tile !== undefined) {
      this.tiles.delete(key);
      this.tiles.set(key, tile);
    }
    return tile;
  }

  /**
   * Return a tile without counting it as used.
   * @param {number} z @param {number} x @param {number} y
   */
  peek(z, x, y) {
    return this.tiles.get(keyOf(z, x, y)) ?? null;
  }

  /**
   * Say which tiles are needed now, the most urgent first; what was wanted before and is not now is forgotten.
   * @param {{z: number, x: number, y: number}[]} wanted
   */
  want(wanted) {
    this.queue = blocksOf(wanted.filter(({ z, x, y }) => {
      const key = keyOf(z, x, y);
      const known = this.tiles.get(key);
      return (known === undefined || known?.stale) && !this.loading.has(key) && !this.resting.has(key);
    }), this.mostAcross);
    this.most = Math.max(this.mostKept, 2 * wanted.length);
    this.mostPictures = Math.max(MOST_PICTURES, 2 * wanted.length);
    this.pump();
  }

  /** Whether all that is wanted is there. */
  get idle() {
    return this.queue.length === 0 && this.loading.size === 0;
  }

  /**
   * Mark tiles whose content has changed; they are shown until their new version comes.
   * @param {(tile: {z: number, x: number, y: number}) => boolean} which
   */
  renew(which) {
    for (const [key, tile] of this.tiles) {
      const [z = 0, x = 0, y = 0] = key.split("/").map(Number);
      if (!which({ z, x, y })) continue;
      if (tile === null) this.tiles.delete(key);
      else tile.stale = true;
    }
  }

  close() {
    this.closed = true;
    this.queue = [];
    this.tiles.clear();
    for (const tile of this.pictures) this.release(tile);
    server.removeEventListener("back", this.onBack);
  }

  pump() {
    while (!this.closed && this.asked < AT_ONCE && this.queue.length > 0) {
      const next = /** @type {Block} */ (this.queue.shift());
      const keys = tilesOf(next).map(({ z, x, y }) => keyOf(z, x, y));
      for (const key of keys) this.loading.add(key);
      this.asked += 1;
      void this.load(next).catch((error) => this.failed(keys, error)).finally(() => {
        this.asked -= 1;
        for (const key of keys) this.loading.delete(key);
        this.pump();
        if (this.idle) this.dispatchEvent(new Event("idle"));
      });
    }
  }

  /** @param {Block} block */
  async load(block) {
    const { z, x, y, columns, rows } = block;
    const path = `${this.path(z, x, y)}${columns * rows > 1 ? `?columns=${columns}&rows=${rows}` : ""}`;
    const answer = await send("GET", path, { headers: { Accept: "image/png" } });
    const image = await decodeGreyPng(await answer.arrayBuffer());
    if (this.closed) return;
    if (image.width <= (columns - 1) * this.side || image.height <= (rows - 1) * this.side) {
      // A server of a version that knows no blocks answers their first tile; single ones all servers answer alike.
      this.mostAcross = 1;
      this.queue = [];
      this.dispatchEvent(new Event("again"));
      return;
    }
    for (const one of tilesOf(block)) this.take(one, partOf(image, (one.x - x) * this.side, (one.y - y) * this.side, this.side));
  }

  /**
   * Keep a tile that came.
   * @param {{z: number, x: number, y: number}} place
   * @param {import("./grey-png.js").GreyImage|null} image null where the mask ends before it
   */
  take({ z, x, y }, image) {
    if (!image) {
      this.put(keyOf(z, x, y), null);
      return;
    }
    this.fetched += 1;
    const tile = { z, x, y, ...image, picture: null, painted: -1, edges: null, edged: -1, stale: false };
    this.put(keyOf(z, x, y), tile);
    this.dispatchEvent(new CustomEvent("tile", { detail: tile }));
  }

  /**
   * @param {string} key
   * @param {Tile|null} tile
   */
  put(key, tile) {
    this.remove(key);
    this.tiles.set(key, tile);
    for (const oldest of this.tiles.keys()) {
      if (this.tiles.size <= this.most) break;
      this.remove(oldest);
    }
  }

  /** @param {string} key */
  remove(key) {
    const tile = this.tiles.get(key);
    if (tile) this.release(tile);
    this.tiles.delete(key);
  }

  /**
   * Note that the picture of a tile is used; pictures that were not for long are given up.
   * @param {Tile} tile
   */
  use(tile) {
    this.pictures.delete(tile);
    this.pictures.add(tile);
    for (const oldest of this.pictures) {
      if (this.pictures.size <= this.mostPictures) break;
      this.release(oldest);
    }
  }

  /** @param {Tile} tile */
  release(tile) {
    this.pictures.delete(tile);
    if (tile.picture) tile.picture.width = 0;
    tile.picture = null;
  }

  /**
   * @param {string[]} keys
   * @param {unknown} error
   */
  failed(keys, error) {
    if (this.closed) return;
    const status = error instanceof Error && "status" in error ? Number(error.status) : -1;
    const kind = error instanceof Error && "kind" in error ? error.kind : "";
    if (kind === "no-tile") {
      for (const key of keys) this.put(key, null);
      return;
    }
    for (const key of keys) this.resting.add(key);
    window.setTimeout(() => {
      const rested = keys.filter((key) => this.resting.delete(key));
      if (rested.length > 0 && !this.closed) this.dispatchEvent(new Event("again"));
    }, RETRY_MILLISECONDS);
    if (status === 404 || status === 401 || status === 403) this.dispatchEvent(new CustomEvent("gone", { detail: error }));
  }
}
