/**
 * Review: outlines of the mask are accepted, given another class, deleted or drawn, and saved beside the result.
 * @module
 */

import { may } from "../app/frame.js";
import { bindKeys } from "../app/keys.js";
import { showError } from "../app/notices.js";
import { createDisposal, listen } from "../lib/disposal.js";
import { button, fill, h } from "../lib/dom.js";
import { ApiError } from "../server/api.js";
import { historyOf } from "./history.js";
import { reviewPanel } from "./panel.js";
import { loadLatest } from "./saving.js";
import { ReviewSession } from "./session.js";

/** @typedef {import("../lib/disposal.js").Disposal} Disposal */
/** @typedef {import("../view/page.js").View} View */

/** @type {import("../view/page.js").Feature} */
export function review({ pane, disposal, addPanel }) {
  const content = h("div");
  const panel = addPanel("Review", content, { name: "review" });
  /** @type {Disposal|null} */
  let running = null;

  const end = () => {
    running?.dispose();
    running = null;
    pane.element.dataset["review"] = "off";
    fill(content, h("p", { class: "hint", text: may("write") ? "Accept, relabel, delete or draw outlines; they become training data." : "You may look at reviews, but not save any: your key only reads." }),
      historyOf(pane.result.job.id).dirty ? h("p", { class: "warning", text: "Your changes are not saved yet." }) : null,
      button("Review the outlines (e)", () => void start()));
  };
  const start = async () => {
    if (running || pane.result.growing) return;
    panel.open = true;
    const job = pane.result.job.id;
    const history = historyOf(job);
    try {
      await loadLatest(job, history);
    } catch (error) {
      if (error instanceof ApiError && error.kind === "not-ours") fill(content, h("p", { class: "hint", text: "This mask comes from a folder of results, not from a job: it takes no corrections. Keep them in its own folder." }));
      else showError(error);
      return;
    }
    if (running || disposal.disposed) return; // begun twice, or the page was left meanwhile
    running = createDisposal();
    const session = new ReviewSession(pane, running);
    const shown = reviewPanel(session, running, { draw, end });
    fill(content, shown.element);
    running.add(bindKeys(reviewKeys(session, { draw, end, save: shown.save, stop })));
    const withControl = (/** @type {KeyboardEvent} */ event) => {
      if (!(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]")) return;
      const key = event.key.toLowerCase();
      if (key === "z" && !event.shiftKey) history.undo();
      else if (key === "y" || key === "z") history.redo();
      else if (key === "s") shown.save();
      else return;
      event.preventDefault();
    };
    listen(running, document, "keydown", withControl);
    function draw() {
      if (session.sketch.active()) session.sketch.stop();
      else {
        session.select(null);
        session.sketch.start();
        session.say("Drag around it, or click its corners, the last one twice. By keys: Space sets a corner in the middle of the view.");
      }
      shown.show();
    }
    function stop() {
      const needed = session.sketch.active() || session.selected !== null;
      if (session.sketch.active()) session.sketch.stop();
      else session.select(null);
      shown.show();
      return needed;
    }
    panel.scrollIntoView({ block: "start" });
    pane.element.dataset["review"] = "on";
    await session.load();
  };
  const growing = () => { panel.hidden = pane.result.growing; };
  growing();
  listen(disposal, pane.element, "result-replaced", growing);
  disposal.add(bindKeys([{ key: "e", does: "review the outlines", action: () => (running ? end() : void start()) }]));
  disposal.add(() => running?.dispose());
  end();
}

/**
 * @param {ReviewSession} session
 * @param {{draw: () => void, end: () => void, save: () => void, stop: () => boolean}} does
 * @returns {import("../app/keys.js").KeyBinding[]}
 */
function reviewKeys(session, does) {
  const { history, sketch } = session;
  const drawing = (/** @type {() => void} */ action) => () => (sketch.active() ? action() : false);
  const digits = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((id, index) => ({
    key: String(id), shown: "1 … 9", does: "review: class of the selected outline, or of the next that is drawn", hidden: index > 0, action: () => session.relabel(id),
  }));
  return [
    { key: "e", does: "end the review", action: does.end },
    { key: "n", shown: "n b", does: "review: next or previous outline", action: () => session.next(1) },
    { key: "b", does: "", hidden: true, action: () => session.next(-1) },
    { key: "a", does: "review: accept the outline", action: () => session.accept() },
    { key: "x", does: "review: delete the outline", action: () => session.reject() },
    { key: "Delete", does: "", hidden: true, action: () => session.reject() },
    { key: "w", does: "review: draw an outline; Space sets a corner in the middle, Enter ends it", action: does.draw },
    { key: " ", does: "", hidden: true, action: drawing(sketch.corner) },
    { key: "Enter", does: "", hidden: true, action: drawing(sketch.finish) },
    { key: "Backspace", does: "", hidden: true, action: drawing(sketch.back) },
    { key: "Escape", shown: "Esc", does: "review: leave drawing, or the outline", action: does.stop },
    { key: "z", shown: "z y", does: "review: undo, redo (or Ctrl-Z, Ctrl-Y)", action: () => history.undo() },
    { key: "y", does: "", hidden: true, action: () => history.redo() },
    { key: "s", does: "review: save", action: does.save },
    ...digits,
  ];
}
