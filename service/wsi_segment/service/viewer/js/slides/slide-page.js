/**
 * One slide: `#/slide/SLIDE`. Look at it, draw a region, have it segmented, and find what was made of it.
 * @module
 */

import { may } from "../app/frame.js";
import { bindKeys } from "../app/keys.js";
import { button, fill, h } from "../lib/dom.js";
import { count, significant } from "../lib/format.js";
import { get } from "../server/api.js";
import { createJobTable } from "../jobs/table.js";
import { openSubmitDialog } from "../submit/dialog.js";
import { stageKeys } from "../view/keys.js";
import { installRegionTool } from "../view/region-tool.js";
import { scaleBarOn } from "../view/scale-bar.js";
import { Stage } from "../view/stage.js";
import { zoomButtonsOn } from "../view/zoom-buttons.js";

/** @typedef {import("../server/types.js").Slide} Slide */

/** @type {import("../app/router.js").OpenPage} */
export async function openSlidePage(main, route, disposal) {
  const slide = /** @type {Slide} */ (await get(`/v1/slides/${route.parts[0] ?? ""}`));
  if (slide.error || !slide.width || !slide.height) throw new Error(slide.error ?? "The slide cannot be opened.");
  if (disposal.disposed) return { ready: "" };
  const pane = h("section", { class: "pane", attributes: { "aria-label": "Slide" } });
  const side = h("aside", { class: "side", attributes: { "aria-label": "Slide and jobs" } });
  fill(main, h("div", { class: "view" }, pane, side));
  const stage = new Stage(pane, { width: slide.width, height: slide.height }, slide, { name: `Slide ${slide.name}` });
  disposal.add(() => stage.close());
  await stage.opened;
  if (disposal.disposed) return { ready: "" };
  const overlay = h("div", { class: "overlay" });
  const toolbar = h("div", { class: "toolbar", attributes: { role: "toolbar", "aria-label": "View" } });
  pane.append(overlay, toolbar);
  zoomButtonsOn(toolbar, stage);
  if (slide.mpp_x) disposal.add(scaleBarOn(overlay, stage, slide.mpp_x));
  const region = installRegionTool({ toolbar, stage, disposal }, slide);
  const segment = () => void openSubmitDialog([slide], { region: region.get() });
  disposal.add(bindKeys([...stageKeys(stage), { key: "s", does: "segment this slide", action: () => { if (may("write")) segment(); } }]));

  const table = await createJobTable(() => ({ slide: slide.id }));
  disposal.add(table.dispose);
  const facts = [`${count(slide.width)} × ${count(slide.height)} px`, slide.mpp ? `${significant(slide.mpp)} µm per pixel (${slide.mpp_source})` : "pixel size unknown", slide.reader ?? ""];
  side.append(
    h("header", { class: "side-head" }, h("h1", { text: slide.name }), h("p", { class: "hint", text: facts.filter(Boolean).join(" · ") })),
    h("div", { class: "side-part controls" },
      may("write") ? button("Segment this slide …", segment, { class: "primary", title: "Choose model and parameters (s)" }) : null,
      region.summary),
    h("div", { class: "side-part" }, h("h2", { text: "Jobs of this slide" }), table.element),
  );
  const note = () => { pane.dataset["drawn"] = String(stage.complete); };
  stage.addEventListener("slide-complete", note);
  note();
  return { ready: "slide" };
}
