/**
 * Finds things by where they are, among very many: a grid for each order of size, in which a thing lies in one cell.
 * @module
 */

/** @typedef {readonly [number, number, number, number]} Box x0, y0, x1, y1 */

/** Side of the smallest cells. */
const FINEST = 64;
/** Cells to either side of 0. */
const MOST_CELLS = 2 ** 20;

/** @template T */
export class BoxIndex {
  constructor() {
    /** @type {Map<string, {box: Box, value: T, level: number, cell: number}>} */
    this.entries = new Map();
    /** Ids by cell, by level. @type {Map<number, Map<number, Set<string>>>} */
    this.levels = new Map();
  }

  /** How many things there are. */
  get size() {
    return this.entries.size;
  }

  /**
   * @param {string} id
   * @returns {T|null}
   */
  get(id) {
    return this.entries.get(id)?.value ?? null;
  }

  /**
   * Add a thing, or put it in the place of the one with its id.
   * @param {string} id
   * @param {Box} box
   * @param {T} value
   */
  set(id, box, value) {
    this.delete(id);
    const level = Math.max(0, Math.ceil(Math.log2(Math.max(box[2] - box[0], box[3] - box[1], 1) / FINEST)));
    const side = FINEST * 2 ** level;
    const cell = cellOf(Math.floor(box[0] / side), Math.floor(box[1] / side));
    const cells = this.levels.get(level) ?? new Map();
    this.levels.set(level, cells);
    const ids = cells.get(cell) ?? new Set();
    cells.set(cell, ids.add(id));
    this.entries.set(id, { box, value, level, cell });
  }

  /** @param {string} id */
  delete(id) {
    const entry = this.entries.get(id);
    if (!entry) return;
    this.entries.delete(id);
    const ids = this.levels.get(entry.level)?.get(entry.cell);
    ids?.delete(id);
    if (ids?.size === 0) this.levels.get(entry.level)?.delete(entry.cell);
  }

  /**
   * Return all that meets a box.
   * @param {Box} box
   * @param {number} [most] how many are enough
   * @returns {T[]}
   */
  within(box, most = Infinity) {
    /** @type {T[]} */
    const found = [];
    for (const [level, cells] of this.levels) {
      for (const ids of near(cells, FINEST * 2 ** level, box)) {
        for (const id of ids) {
          const entry = this.entries.get(id);
          if (entry && meet(entry.box, box)) found.push(entry.value);
          if (found.length >= most) return found;
        }
      }
    }
    return found;
  }
}

/**
 * Return the things of the cells in which something can begin that meets a box: it reaches at most one cell further.
 * @param {Map<number, Set<string>>} cells
 * @param {number} side
 * @param {Box} box
 */
function near(cells, side, [x0, y0, x1, y1]) {
  const [left, top, right, bottom] = [Math.floor(x0 / side) - 1, Math.floor(y0 / side) - 1, Math.floor(x1 / side), Math.floor(y1 / side)];
  if ((right - left + 1) * (bottom - top + 1) >= cells.size) return [...cells.values()];
  const found = [];
  for (let y = top; y <= bottom; y += 1) {
    for (let x = left; x <= right; x += 1) {
      const ids = cells.get(cellOf(x, y));
      if (ids) found.push(ids);
    }
  }
  return found;
}

/**
 * Return the number of a cell; outlines of others may lie beside the slide.
 * @param {number} x
 * @param {number} y
 */
function cellOf(x, y) {
  return (y + MOST_CELLS) * 2 * MOST_CELLS + x + MOST_CELLS;
}

/** @param {Box} a @param {Box} b */
function meet(a, b) {
  return a[2] >= b[0] && a[3] >= b[1] && a[0] <= b[2] && a[1] <= b[3];
}
