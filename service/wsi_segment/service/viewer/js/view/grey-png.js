/**
 * Reads grey PNG tiles to the exact numbers that the server sent.
 *
 * A canvas would give colours back that browsers may have changed: by a colour profile, or on purpose, to keep pages from
 * telling users apart. Class ids must not be changed.
 * @module
 */

/** @typedef {{width: number, height: number, values: Uint8Array}} GreyImage */

const SIGNATURE = 8;

/**
 * Decode a PNG of 8 bits of grey.
 * @param {ArrayBuffer} content
 * @returns {Promise<GreyImage>}
 */
export async function decodeGreyPng(content) {
  const view = new DataView(content);
  let width = 0;
  let height = 0;
  const parts = [];
  for (let at = SIGNATURE; at + 8 <= content.byteLength; ) {
    const size = view.getUint32(at);
    const kind = String.fromCharCode(...new Uint8Array(content, at + 4, 4));
    if (kind === "IHDR") {
      width = view.getUint32(at + 8);
      height = view.getUint32(at + 12);
      const form = [16, 17, 20].map((offset) => view.getUint8(at + offset));
      if (form[0] !== 8 || form[1] !== 0 || form[2] !== 0) throw new Error("a mask tile is not 8 bits of grey");
    } else if (kind === "IDAT") {
      parts.push(new Uint8Array(content, at + 8, size));
    }
    at += size + 12;
  }
  const lines = await inflated(parts);
  if (lines.length !== height * (width + 1)) throw new Error("a mask tile is cut off");
  return { width, height, values: unfilter(lines, width, height) };
}

/**
 * Inflate a zlib stream.
 * @param {Uint8Array<ArrayBuffer>[]} parts of it
 */
async function inflated(parts) {
  const { readable, writable } = new DecompressionStream("deflate");
  const writer = writable.getWriter();
  for (const part of parts) writer.write(part).catch(() => undefined); // the reader fails too, and says why
  writer.close().catch(() => undefined);
  return new Uint8Array(await new Response(readable).arrayBuffer());
}

/**
 * Undo the filters of the lines, each of which begins with the number of its filter (PNG, 9.2).
 * @param {Uint8Array} lines
 * @param {number} width
 * @param {number} height
 */
function unfilter(lines, width, height) {
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y += 1) {
    const filter = lines[y * (width + 1)];
    const source = y * (width + 1) + 1;
    const line = y * width;
    if (filter === 0) {
      values.set(lines.subarray(source, source + width), line);
      continue;
    }
    for (let x = 0; x < width; x += 1) {
      const left = x > 0 ? /** @type {number} */ (values[line + x - 1]) : 0;
      const above = y > 0 ? /** @type {number} */ (values[line - width + x]) : 0;
      const corner = x > 0 && y > 0 ? /** @type {number} */ (values[line - width + x - 1]) : 0;
      let guess = 0;
      if (filter === 1) guess = left;
      else if (filter === 2) guess = above;
      else if (filter === 3) guess = (left + above) >> 1;
      else if (filter === 4) guess = paeth(left, above, corner);
      values[line + x] = /** @type {number} */ (lines[source + x]) + guess;
    }
  }
  return values;
}

/**
 * @param {number} left
 * @param {number} above
 * @param {number} corner
 */
function paeth(left, above, corner) {
  const guess = left + above - corner;
  const toLeft = Math.abs(guess - left);
  const toAbove = Math.abs(guess - above);
  const toCorner = Math.abs(guess - corner);
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}
