/**
 * Other results of the slide, to compare this one with.
 * @module
 */

import { hrefOf } from "../app/router.js";
import { showError } from "../app/notices.js";
import { asked, modelOf } from "../jobs/asked.js";
import { listen } from "../lib/disposal.js";
import { fill, h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { get } from "../server/api.js";
import { keepLinksAt } from "../view/view-state.js";

/** @typedef {import("../server/types.js").Job} Job */

/** @type {import("../view/page.js").Feature} */
export function compareWith({ pane, disposal, addPanel }) {
  const list = h("ul", { class: "downloads" });
  const panel = addPanel("Compare", h("div", {}, list), { name: "compare" });
  listen(disposal, panel, "toggle", () => {
    if (panel.open) void load().catch(showError);
  });
  const renew = keepLinksAt(pane.state, disposal, () => list.querySelectorAll("a"));
  const load = async () => {
    const { job } = pane.result;
    const page = /** @type {{jobs: Job[]}} */ (await get(`/v1/jobs?slide=${job.slide}&status=successful&page_size=50`));
    const others = page.jobs.filter((one) => one.id !== job.id && !one.removed);
    if (others.length === 0) {
      fill(list, h("li", { class: "hint", text: "There is no other result of this slide yet. Segment it with another model, or other parameters." }));
      return;
    }
    fill(list, others.map((one) => h("li", {}, h("a", {
      text: `${modelOf(one)}, ${moment(one.finished, "medium")}`,
      attributes: { href: hrefOf("compare", [job.id, one.id]) },
    }), h("br"), h("small", { text: asked(one) }))));
    renew();
  };
}
