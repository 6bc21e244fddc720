/**
 * Small drawings for buttons, as elements; they take the colour of the text.
 * @module
 */

const SVG = "http://www.w3.org/2000/svg";

/** Paths in a square of 24. */
const PATHS = {
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  home: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  ruler: "M3 16 16 3l5 5L8 21zM7 12l2 2M10 9l3 3M13 6l2 2",
  camera: "M4 8h4l2-3h4l2 3h4v11H4zM12 10a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  region: "M4 4h16v16H4z",
  contrast: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18M15 6v12M18 9v6",
};

/** @typedef {keyof typeof PATHS} IconName */

/**
 * Draw an icon.
 * @param {IconName} name
 */
export function icon(name) {
  const element = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" })) element.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  element.append(path);
  return element;
}
