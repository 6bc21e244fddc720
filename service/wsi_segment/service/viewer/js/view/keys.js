/**
 * The keys of the viewer.
 * @module
 */

/** @typedef {import("../app/keys.js").KeyBinding} KeyBinding */
/** @typedef {import("./page.js").View} View */

/**
 * Return what keys do in a view.
 * @param {View} view
 * @returns {KeyBinding[]}
 */
export function viewKeys({ pane }) {
  return [...stageKeys(pane.stage), ...maskKeys(pane)];
}

/**
 * @param {import("./stage.js").Stage} stage
 * @returns {KeyBinding[]}
 */
export function stageKeys(stage) {
  const step = 0.15;
  return [
    { key: "ArrowLeft", shown: "← → ↑ ↓", does: "move over the slide", action: () => stage.pan(-step, 0) },
    { key: "ArrowRight", does: "", hidden: true, action: () => stage.pan(step, 0) },
    { key: "ArrowUp", does: "", hidden: true, action: () => stage.pan(0, -step) },
    { key: "ArrowDown", does: "", hidden: true, action: () => stage.pan(0, step) },
    { key: "+", shown: "+ −", does: "zoom in, zoom out", action: () => stage.zoomBy(1.5) },
    { key: "=", does: "", hidden: true, action: () => stage.zoomBy(1.5) },
    { key: "-", does: "", hidden: true, action: () => stage.zoomBy(1 / 1.5) },
    { key: "0", shown: "0", does: "show the whole slide", action: () => stage.home() },
    { key: "h", shown: "h", does: "show the whole slide", hidden: true, action: () => stage.home() },
  ];
}

/**
 * @param {import("./pane.js").Pane} pane
 * @returns {KeyBinding[]}
 */
export function maskKeys({ state }) {
  const toggles = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    .map((id, index) => ({
      key: String(id),
      shown: "1 … 9",
      does: "switch a class on or off",
      hidden: index > 0,
      action: () => toggleClass(state, id),
    }));
  return [
    { key: "m", does: "show or hide the mask", action: () => state.set({ visible: !state.get().visible }) },
    { key: "o", does: "outlined or filled", action: () => state.set({ outline: !state.get().outline }) },
    { key: "[", shown: "[ ]", does: "less or more opaque", action: () => setOpacity(state, -0.1) },
    { key: "]", does: "", hidden: true, action: () => setOpacity(state, 0.1) },
    ...toggles,
  ];
}

/**
 * Switch a class on or off.
 * @param {import("./view-state.js").ViewStore} state
 * @param {number} id
 */
export function toggleClass(state, id) {
  const hidden = new Set(state.get().hidden);
  if (!hidden.delete(id)) hidden.add(id);
  state.set({ hidden });
}

/**
 * @param {import("./view-state.js").ViewStore} state
 * @param {number} by
 */
function setOpacity(state, by) {
  const opacity = Math.min(1, Math.max(0, state.get().opacity + by));
  state.set({ opacity: Math.round(20 * opacity) / 20 });
}
