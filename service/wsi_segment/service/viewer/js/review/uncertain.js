/**
 * Where to look next: the fields of the slide of whose classes the model was least sure, one after another.
 * @module
 */

import { bindKeys } from "../app/keys.js";
import { listen } from "../lib/disposal.js";
import { button, fill, h } from "../lib/dom.js";
import { count, percent } from "../lib/format.js";
import { get } from "../server/api.js";
import { markOn } from "../view/mark.js";

/** @typedef {{bbox: [number, number, number, number], uncertainty: number}} Field */

const MOST = 100;

/** @type {import("../view/page.js").Feature} */
export function uncertain({ pane, disposal, addPanel }) {
  const said = h("p", { attributes: { role: "status" }, data: { uncertain: "said" } });
  const back = button("Previous (,)", () => void step(-1));
  const forth = button("Next (.)", () => void step(1));
  const hint = h("p", { class: "hint", text: "Fields of whose classes the model was least sure come first: a correction there teaches most." });
  const content = h("div", { class: "controls" }, hint, h("div", { class: "actions" }, back, forth), said);
  const panel = addPanel("Where to look next", content, { name: "uncertain" });
  const mark = markOn(pane.stage, disposal);
  /** @type {Field[]|null} */
  let fields = null;
  let at = -1;

  /** @param {1|-1} by */
  const step = async (by) => {
    if (pane.result.growing) return;
    panel.open = true;
    if (!pane.result.table.probabilities) return;
    try {
      fields ??= /** @type {{fields: Field[]}} */ (await get(`/v1/jobs/${pane.result.job.id}/results/uncertain.json?count=${MOST}`)).fields;
    } catch (error) {
      said.textContent = error instanceof Error ? error.message : String(error);
      return;
    }
    if (fields.length === 0) {
      said.textContent = "The mask has no field with tissue.";
      return;
    }
    at = (at + by + fields.length + (at < 0 && by < 0 ? 1 : 0)) % fields.length;
    const field = /** @type {Field} */ (fields[at]);
    pane.stage.fit(field.bbox);
    mark(field.bbox);
    said.textContent = `Field ${count(at + 1)} of ${count(fields.length)}: ${percent(field.uncertainty)} unsure`;
  };
  const missing = () => {
    back.disabled = true;
    forth.disabled = true;
    fill(said, "This job kept no probabilities, so that nobody can tell where the model was unsure. Segment the slide again with ",
      h("q", { text: "probabilities" }), " ticked, or by command: ",
      h("code", { text: "wsi-segment submit SLIDE --probabilities" }));
  };
  const growing = () => {
    panel.hidden = pane.result.growing;
    if (!pane.result.growing && !pane.result.table.probabilities) missing();
  };
  growing();
  listen(disposal, pane.element, "result-replaced", growing);
  disposal.add(bindKeys([
    { key: ".", shown: ". ,", does: "next or previous field of which the model was unsure", action: () => void step(1) },
    { key: ",", does: "", hidden: true, action: () => void step(-1) },
  ]));
}
