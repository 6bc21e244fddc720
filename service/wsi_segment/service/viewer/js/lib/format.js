/**
 * Numbers, sizes and times as people read them.
 * @module
 */

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** @param {number} value */
export function count(value) {
  return plain.format(value);
}

/**
 * Write a number with so many digits that count.
 * @param {number} value
 * @param {number} [digits]
 */
export function significant(value, digits = 3) {
  return new Intl.NumberFormat("en", { maximumSignificantDigits: digits }).format(value);
}

/**
 * Write an area; the unit changes where µm² have no more than three digits, so that a column has one of them as far as can be.
 * @param {number} mm2 in mm²
 */
export function area(mm2) {
  if (mm2 !== 0 && mm2 < 0.001) return `${significant(mm2 * 1e6)} µm²`;
  return `${significant(mm2)} mm²`;
}

/**
 * Write a length.
 * @param {number} um in µm
 */
export function length(um) {
  return um >= 1000 ? `${significant(um / 1000)} mm` : `${significant(um)} µm`;
}

/** @param {number} share between 0 and 1 */
export function percent(share) {
  return `${(100 * share).toFixed(share >= 0.1 || share === 0 ? 1 : 2)} %`;
}

/**
 * Write how long something takes.
 * @param {number} seconds
 */
export function duration(seconds) {
  const rounded = Math.max(0, Math.round(seconds));
  if (rounded < 60) return `${rounded} s`;
  if (rounded < 3600) return `${Math.floor(rounded / 60)} min ${rounded % 60} s`;
  return `${Math.floor(rounded / 3600)} h ${Math.floor((rounded % 3600) / 60)} min`;
}

/**
 * Write a moment in the time of this computer.
 * @param {string|number|null} moment ISO 8601, or milliseconds
 * @param {"short"|"medium"} [timeStyle] `medium`: to the second
 */
export function moment(moment, timeStyle = "short") {
  if (moment === null) return "";
  return new Date(moment).toLocaleString("en-GB", { dateStyle: "medium", timeStyle });
}

/** @param {number} bytes */
export function bytes(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${significant(value)} ${units[unit]}`;
}
