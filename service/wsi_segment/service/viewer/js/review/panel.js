/**
 * The panel of a review: what is selected, what can be done with it, who saved what and when.
 * @module
 */

import { showError } from "../app/notices.js";
import { listen } from "../lib/disposal.js";
import { button, field, fill, h } from "../lib/dom.js";
import { area, count, moment } from "../lib/format.js";
import { listVersions } from "./corrections.js";
import { classNameOf, reviewOf } from "./edits.js";
import { download, restore, save } from "./saving.js";
import { shapeOf } from "./shapes.js";

/** @typedef {import("./session.js").ReviewSession} ReviewSession */

/**
 * Build the panel.
 * @param {ReviewSession} session
 * @param {import("../lib/disposal.js").Disposal} disposal
 * @param {{draw: () => void, end: () => void}} does
 */
export function reviewPanel(session, disposal, does) {
  const { history, pane } = session;
  const name = (pane.result.job.slide_name ?? pane.result.job.id).replace(/\.[a-z]+$/i, "");
  const said = h("p", { class: "hint", attributes: { role: "status" }, data: { review: "said" } });
  const selected = h("p", { data: { review: "selected" } });
  const counts = h("p", { class: "hint", data: { review: "counts" } });
  const saved = h("p", { class: "hint", attributes: { role: "status" }, data: { review: "saved" } });
  const classes = h("select", { attributes: { "aria-keyshortcuts": "1 2 3 4 5 6 7 8 9" }, on: { change: () => session.relabel(Number(classes.value)) } },
    session.choices().map((entry) => h("option", { text: entry.name, attributes: { value: entry.id } })));
  const label = field("Class of new outlines", classes);
  const drawing = button("Draw (w)", does.draw, { pressed: false });
  const accepting = button("Accept (a)", () => session.accept());
  const rejecting = button("Delete (x)", () => session.reject());
  const undoing = button("Undo (z)", () => history.undo());
  const redoing = button("Redo (y)", () => history.redo());
  const saving = button("Save (s)", () => void save(session.job, name, history), { class: "primary" });
  const versions = versionPicker(session);

  const show = () => {
    const one = session.current();
    selected.textContent = one ? describe(session, one) : session.tooMany
      ? `${count(session.tooMany)} outlines are on the screen: zoom in to review them.`
      : "Click an outline, or press n for the next one.";
    for (const each of [accepting, rejecting]) each.disabled = one === null;
    const chosen = one ? session.choices().find((entry) => classNameOf(entry.name) === one.feature.properties.classification.name) : session.choice;
    classes.value = chosen ? String(chosen.id) : "";
    const text = label.querySelector("label");
    if (text) text.textContent = one ? "Class of the selected outline" : "Class of new outlines";
    drawing.setAttribute("aria-pressed", String(session.sketch.active()));
    undoing.disabled = history.past.length === 0;
    redoing.disabled = history.future.length === 0;
    saving.setAttribute("aria-disabled", String(!history.dirty || history.saving)); // and not disabled, which would take the focus away
    const { kept, rejected } = history.now;
    counts.textContent = `${count(kept.size)} kept, ${count(rejected.size)} deleted; on the screen ${count(session.open)} not reviewed`;
    const { version } = history;
    const by = version?.author ? ` by ${version.author}` : "";
    const told = history.saving ? "Saving …" : version ? `Version ${version.version} saved${by}, ${moment(version.saved)}${history.dirty ? "; changed since" : ""}` : history.dirty ? "Not saved yet" : "Nobody has reviewed this mask yet";
    if (saved.textContent !== told) saved.textContent = told; // which is read out
  };
  const content = h("div", { class: "controls review" }, selected, said,
    h("div", { class: "actions" }, accepting, rejecting, button("Next (n)", () => session.next(1))), label,
    h("div", { class: "actions" }, drawing, undoing, redoing), counts, saved,
    h("div", { class: "actions" }, saving, button("Download (GeoJSON)", () => download(name, history)), button("End (e)", does.end)),
    versions.element,
    h("label", { text: "As training data, by command", attributes: { for: "fetch-corrections" } }),
    h("input", { id: "fetch-corrections", attributes: { type: "text", readonly: true, value: `wsi-segment fetch ${session.job} --corrections training/` } }));
  listen(disposal, session, "changed", show);
  listen(disposal, session, "said", (event) => { said.textContent = event.detail; });
  listen(disposal, history, "changed", () => { said.textContent = ""; }); // it was of what is past
  listen(disposal, history, "changed", versions.renew);
  show();
  return { element: content, show, save: () => void save(session.job, name, history) };
}

/**
 * @param {ReviewSession} session
 * @param {import("./outline-layer.js").Item} item
 */
function describe({ pane }, { feature, status }) {
  const { mpp_x, mpp_y } = pane.result.table;
  const how = status === "kept" ? reviewOf(feature) ?? "kept" : status === "rejected" ? "deleted" : "not reviewed";
  return `${feature.properties.classification.name}, ${area((shapeOf(feature).area * mpp_x * mpp_y) / 1e6)}, ${how}`;
}

/** @param {ReviewSession} session */
function versionPicker({ job, history }) {
  const list = h("select", { attributes: { "aria-label": "Earlier versions" } });
  const back = button("Take this version", () => void restore(job, history, Number(list.value)).catch(showError), { title: "Undo takes it away again; it counts when it is saved" });
  const element = h("div", { class: "controls", attributes: { hidden: true } }, list, back);
  let shown = -1;
  const renew = () => {
    const now = history.version?.version ?? 0;
    if (now === shown) return;
    shown = now;
    element.hidden = now < 2;
    if (now < 2) return;
    listVersions(job).then((versions) => {
      const chosen = list.value; // a list that grows while somebody chooses from it keeps the choice
      fill(list, versions.map((one) =>
        h("option", { text: `Version ${one.version}, ${one.author ? `${one.author}, ` : ""}${moment(one.saved)}`, attributes: { value: one.version } })));
      if (versions.some((one) => String(one.version) === chosen)) list.value = chosen;
    }, (error) => {
      shown = -1; // asked for again with the next change
      showError(error);
    });
  };
  renew();
  return { element, renew };
}
