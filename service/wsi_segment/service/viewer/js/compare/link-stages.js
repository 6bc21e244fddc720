/**
 * Two stages that show the same place: whichever the user moves leads, the other follows with every frame.
 * @module
 */

import { listen } from "../lib/disposal.js";

/** @typedef {import("../view/stage.js").Stage} Stage */

/**
 * Link two stages of the same size.
 * @param {Stage} first leads until the user touches the other
 * @param {Stage} second
 * @param {import("../lib/disposal.js").Disposal} disposal
 * @returns {() => void} makes the second follow at once
 */
export function linkStages(first, second, disposal) {
  let leader = first;
  let following = false;
  const follow = () => {
    if (following) return;
    const other = leader === first ? second : first;
    const place = leader.place();
    const now = other.place();
    const far = Math.abs(place.x0 - now.x0) + Math.abs(place.y0 - now.y0);
    if (far < 0.01 * place.scale && Math.abs(place.scale / now.scale - 1) < 1e-6) return;
    following = true; // showing a place draws, and a stage that is moved must not lead back
    other.show(place.x0 + place.width / 2, place.y0 + place.height / 2, place.scale, true);
    following = false;
  };
  for (const stage of [first, second]) {
    for (const name of ["pointerdown", "wheel", "focusin"]) listen(disposal, stage.element, name, () => { leader = stage; }, { capture: true, passive: true });
    disposal.add(stage.onDraw(() => { if (stage === leader) follow(); }));
  }
  return () => {
    leader = first;
    follow();
  };
}
