/**
 * Chooses how OpenSeadragon draws: on the graphics card, or where there is none by the browser's own 2D canvas.
 *
 * Without a card a browser computes WebGL on the processor, which takes several times as long as its 2D canvas: remote
 * desktops and virtual machines are such.
 * @module
 */

const ON_THE_PROCESSOR = /swiftshader|llvmpipe|software|basic render/i;

/** @type {("auto"|"canvas")[]|null} */
let chosen = null;

/** Return what OpenSeadragon is to draw with. */
export function drawers() {
  chosen ??= onTheProcessor() ? ["canvas"] : ["auto"];
  return chosen;
}

function onTheProcessor() {
  const gl = document.createElement("canvas").getContext("webgl");
  if (!gl) return true;
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return ON_THE_PROCESSOR.test(name);
}
