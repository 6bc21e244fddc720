/**
 * Colours: the model's own, the palette of Okabe and Ito, which colour-blind eyes tell apart, and a map for probabilities.
 * @module
 */

import { packed } from "./paint.js";

/** @typedef {import("../server/types.js").MaskClass} MaskClass */

/** Okabe and Ito 2008, without black; further classes begin again, darker. */
const SAFE = [
  [230, 159, 0],
  [86, 180, 233],
  [0, 158, 115],
  [240, 228, 66],
  [0, 114, 178],
  [213, 94, 0],
  [204, 121, 167],
];

/**
 * Return classes with the colours of a palette.
 * @param {MaskClass[]} classes
 * @param {"model"|"safe"} palette
 * @returns {MaskClass[]}
 */
export function coloured(classes, palette) {
  if (palette === "model") return classes;
  return classes.map((entry) => {
    if (entry.id === 0) return entry;
    const round = Math.floor((entry.id - 1) / SAFE.length);
    const color = /** @type {number[]} */ (SAFE[(entry.id - 1) % SAFE.length]);
    return { ...entry, color: color.map((value) => Math.round(value * 0.6 ** round)) };
  });
}

/**
 * Return a colour as CSS writes it.
 * @param {readonly number[]} color
 */
export function css(color) {
  return `rgb(${color.join(" ")})`;
}

/** Stops of the map in OKLab (Ottosson 2020): lightness rises evenly, from blue over grey-green to yellow. */
const STOPS = [
  [0.3, -0.02, -0.13],
  [0.45, -0.03, -0.09],
  [0.6, -0.045, -0.01],
  [0.76, -0.03, 0.08],
  [0.92, -0.03, 0.17],
];

/**
 * Return the colour of a share: equal steps of the share look like equal steps of lightness.
 * @param {number} share 0 to 1
 */
export function perceptual(share) {
  const place = Math.min(0.9999, Math.max(0, share)) * (STOPS.length - 1);
  const from = /** @type {number[]} */ (STOPS[Math.floor(place)]);
  const to = /** @type {number[]} */ (STOPS[Math.floor(place) + 1]);
  const part = place - Math.floor(place);
  const [l = 0, a = 0, b = 0] = from.map((value, index) => value + part * (Number(to[index]) - value));
  const long = (l + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const middle = (l - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const short = (l - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
    -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
    -0.0041960863 * long - 0.7034186147 * middle + 1.707614701 * short,
  ].map((value) => Math.round(255 * encode(value)));
}

/** @param {number} linear */
function encode(linear) {
  const value = Math.min(1, Math.max(0, linear));
  return value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055;
}

/**
 * Make the table of colours of a probability, which comes as 0 to 255.
 * @param {number} threshold 0 to 1, below which nothing is shown
 */
export function probabilityTable(threshold) {
  const table = new Uint32Array(256);
  for (let value = Math.max(1, Math.ceil(255 * threshold)); value < 256; value += 1) table[value] = packed(perceptual(value / 255));
  return table;
}
