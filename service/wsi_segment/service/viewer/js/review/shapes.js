/**
 * Outlines as shapes: paths to paint and to hit, their boxes and areas; and what makes a ring of a drawn line.
 * @module
 */

/** @typedef {import("./edits.js").Feature} Feature */
/** @typedef {import("../view/pointer-tool.js").Point} Point */

/**
 * @typedef {object} Shape
 * @property {Path2D} path in level-0 pixels from `corner`; made when it is first asked for, as most outlines are off the screen
 * @property {Point} corner
 * @property {[number, number, number, number]} box in level-0 pixels
 * @property {number} area in square level-0 pixels
 */

/** @type {WeakMap<object, Shape>} */
const made = new WeakMap();

/**
 * Return the shape of an outline; a geometry that did not change is not built again.
 * @param {Feature} feature
 * @returns {Shape}
 */
export function shapeOf(feature) {
  const known = made.get(feature.geometry);
  if (known) return known;
  const polygons = feature.geometry.type === "Polygon" ? [feature.geometry.coordinates] : feature.geometry.coordinates;
  const box = boxOf(polygons.flat());
  const corner = { x: box[0], y: box[1] }; // canvas paths have 32-bit floats: small numbers keep places of large slides exact
  let area = 0;
  for (const rings of polygons) rings.forEach((ring, index) => { area += (index === 0 ? 1 : -1) * Math.abs(ringArea(ring)); });
  /** @type {Path2D|null} */
  let path = null;
  const shape = { corner, box, area, get path() { return (path ??= pathOf(polygons.flat(), corner)); } };
  made.set(feature.geometry, shape);
  return shape;
}

/**
 * @param {number[][][]} rings
 * @param {Point} corner
 */
function pathOf(rings, corner) {
  const path = new Path2D();
  for (const ring of rings) {
    ring.forEach(([x = 0, y = 0], at) => (at === 0 ? path.moveTo(x - corner.x, y - corner.y) : path.lineTo(x - corner.x, y - corner.y)));
    path.closePath();
  }
  return path;
}

/**
 * @param {number[][][]} rings
 * @returns {[number, number, number, number]}
 */
function boxOf(rings) {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const ring of rings) {
    for (const [x = 0, y = 0] of ring) {
      x0 = Math.min(x0, x);
      y0 = Math.min(y0, y);
      x1 = Math.max(x1, x);
      y1 = Math.max(y1, y);
    }
  }
  return [x0, y0, x1, y1];
}

/**
 * Return the signed area of a ring, from its first point on so that large coordinates cost no digits.
 * @param {number[][]} ring
 */
export function ringArea(ring) {
  const [left = 0, top = 0] = ring[0] ?? [];
  let sum = 0;
  for (let i = 0; i < ring.length; i += 1) {
    const [x0 = 0, y0 = 0] = ring[i] ?? [];
    const [x1 = 0, y1 = 0] = ring[(i + 1) % ring.length] ?? [];
    sum += (x0 - left) * (y1 - top) - (x1 - left) * (y0 - top);
  }
  return sum / 2;
}

/**
 * Make a closed ring of points that were drawn, without those that hardly matter (Douglas and Peucker 1973).
 * @param {Point[]} points
 * @param {number} tolerance in level-0 pixels
 * @param {{width: number, height: number}} size of the slide, beyond which nothing lies
 * @returns {number[][]|null} null where they enclose nothing
 */
export function ringOf(points, tolerance, size) {
  const inside = points.map(({ x, y }) => [clamped(x, size.width), clamped(y, size.height)]);
  const kept = inside.length > 8 ? simplified(inside, tolerance) : inside;
  const first = kept[0];
  if (!first || kept.length < 3 || Math.abs(ringArea(kept)) < 1) return null;
  if (ringArea(kept) < 0) kept.reverse();
  return [...kept, /** @type {number[]} */ (kept[0])];
}

/** @param {number} value @param {number} most */
function clamped(value, most) {
  return Math.round(100 * Math.min(most, Math.max(0, value))) / 100;
}

/**
 * @param {number[][]} points
 * @param {number} tolerance
 * @returns {number[][]}
 */
function simplified(points, tolerance) {
  const keep = new Uint8Array(points.length);
  keep[0] = 1;
  keep[points.length - 1] = 1;
  const left = [[0, points.length - 1]];
  for (let span = left.pop(); span; span = left.pop()) {
    const [from = 0, to = 0] = span;
    let far = tolerance;
    let at = -1;
    for (let i = from + 1; i < to; i += 1) {
      const away = distance(points[i] ?? [], points[from] ?? [], points[to] ?? []);
      if (away > far) {
        far = away;
        at = i;
      }
    }
    if (at < 0) continue;
    keep[at] = 1;
    left.push([from, at], [at, to]);
  }
  return points.filter((_, index) => keep[index] === 1);
}

/**
 * Return how far a point is from a piece of a line.
 * @param {number[]} point
 * @param {number[]} from
 * @param {number[]} to
 */
function distance([x = 0, y = 0], [x0 = 0, y0 = 0], [x1 = 0, y1 = 0]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const part = Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - x0 - part * dx, y - y0 - part * dy);
}
