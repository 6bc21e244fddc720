/**
 * The slides of all roots.
 * @module
 */

import { setReady } from "../app/ready.js";
import { fill, h } from "../lib/dom.js";
import { address, get } from "../server/api.js";

/** @typedef {import("../server/types.js").Slide} Slide */

/** @type {import("../app/router.js").OpenPage} */
export async function openSlidesPage(main) {
  const { slides } = /** @type {{slides: Slide[]}} */ (await get("/v1/slides?page_size=50"));
  fill(main, h("h1", { text: "Slides" }), h("ul", { class: "grid" }, slides.map((slide) => h("li", { class: "card" },
    h("img", { attributes: { src: address(`/v1/slides/${slide.id}/thumbnail?size=256`), alt: "", loading: "lazy" } }), h("span", { text: slide.name })))));
  setReady("slides");
  return { dispose: () => undefined };
}
