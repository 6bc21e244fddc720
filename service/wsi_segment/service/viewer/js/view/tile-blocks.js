/**
 * Tiles beside and below each other, which the server answers as one picture: a screen of tiles costs few requests.
 * @module
 */

/**
 * @typedef {object} Block
 * @property {number} z
 * @property {number} x
 * @property {number} y
 * @property {number} columns
 * @property {number} rows
 */

/** Tiles beside each other, and below each other, of which the server makes one picture. */
export const MOST_ACROSS = 8;

/**
 * Put tiles of one level together to as few blocks as rows of them allow.
 * @param {{z: number, x: number, y: number}[]} tiles the most urgent first
 * @param {number} [most] tiles beside each other, and below each other
 * @returns {Block[]} that with the most urgent tile first
 */
export function blocksOf(tiles, most = MOST_ACROSS) {
  const turn = new Map(tiles.map(({ x, y }, index) => [`${x}/${y}`, index]));
  const inRows = [...tiles].sort((a, b) => a.y - b.y || a.x - b.x);
  /** @type {(Block & {turn: number})[]} */
  const runs = [];
  for (const { z, x, y } of inRows) {
    const mine = turn.get(`${x}/${y}`) ?? 0;
    const last = runs.at(-1);
    if (last && last.y === y && last.x + last.columns === x && last.columns < most) {
      last.columns += 1;
      last.turn = Math.min(last.turn, mine);
    } else runs.push({ z, x, y, columns: 1, rows: 1, turn: mine });
  }
  /** @type {typeof runs} */
  const blocks = [];
  for (const run of runs) {
    const above = blocks.find((block) => block.x === run.x && block.columns === run.columns && block.y + block.rows === run.y && block.rows < most);
    if (above) {
      above.rows += 1;
      above.turn = Math.min(above.turn, run.turn);
    } else blocks.push(run);
  }
  return blocks.sort((a, b) => a.turn - b.turn);
}

/**
 * Return the places of the tiles of a block.
 * @param {Block} block
 */
export function tilesOf({ z, x, y, columns, rows }) {
  return Array.from({ length: columns * rows }, (_, index) => ({ z, x: x + (index % columns), y: y + Math.floor(index / columns) }));
}

/**
 * Return a square of an image, or what of it lies within.
 * @param {import("./grey-png.js").GreyImage} image
 * @param {number} left
 * @param {number} top
 * @param {number} side
 * @returns {import("./grey-png.js").GreyImage|null} null where nothing does
 */
export function partOf(image, left, top, side) {
  const width = Math.min(side, image.width - left);
  const height = Math.min(side, image.height - top);
  if (width <= 0 || height <= 0) return null;
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y += 1) {
    const from = (top + y) * image.width + left;
    values.set(image.values.subarray(from, from + width), y * width);
  }
  return { width, height, values };
}
