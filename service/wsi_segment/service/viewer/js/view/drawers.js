/**
 * Chooses how slide and mask are drawn: on the graphics card, or where there is none by the browser's own 2D canvas.
 *
 * Without a card a browser computes WebGL on the processor, which takes several times as long as its 2D canvas: remote
 * desktops and virtual machines are such. A 2D canvas is meant for the card too, unless it is said to be read often.
 * @module
 */

const ON_THE_PROCESSOR = /swiftshader|llvmpipe|software|basic render/i;

/** @type {boolean|null} */
let known = null;

/** Return what OpenSeadragon is to draw with. @returns {("auto"|"canvas")[]} */
export function drawers() {
  return onTheProcessor() ? ["canvas"] : ["auto"];
}

/**
 * Return how to ask for a 2D canvas that is drawn anew with each frame, or often.
 * @returns {CanvasRenderingContext2DSettings}
 */
export function canvasSettings() {
  return { willReadFrequently: onTheProcessor() };
}

/** Return whether the processor draws, as no graphics card is there; the first call takes some milliseconds. */
export function onTheProcessor() {
  known ??= look();
  return known;
}

function look() {
  const gl = document.createElement("canvas").getContext("webgl");
  if (!gl) return true;
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return ON_THE_PROCESSOR.test(name);
}
