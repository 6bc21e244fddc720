/**
 * The slides of all roots as a grid: `#/slides?search=...&page=...`. Several can be selected and segmented together.
 * @module
 */

import { may } from "../app/frame.js";
import { bindKeys } from "../app/keys.js";
import { showError } from "../app/notices.js";
import { hrefOf, replaceQuery } from "../app/router.js";
import { debounced, listen } from "../lib/disposal.js";
import { button, fill, h, refill } from "../lib/dom.js";
import { count, significant } from "../lib/format.js";
import { address, get, server } from "../server/api.js";
import { openSubmitDialog } from "../submit/dialog.js";

/** @typedef {import("../server/types.js").Slide} Slide */

const PAGE = 48;
const LOOK_AGAIN = 1500;
/** Requests for a thumbnail before the page says that there is none. */
const MOST_TRIES = 3;

/** @type {import("../app/router.js").OpenPage} */
export async function openSlidesPage(main, route, disposal) {
  /** @type {Map<string, Slide>} */
  const selected = new Map();
  let tokens = [route.query.get("page") ?? ""];
  let next = "";
  let turn = 0;
  const search = h("input", { id: "search", attributes: { type: "search", placeholder: "Part of a name or folder", value: route.query.get("search") ?? "" } });
  const grid = h("ul", { class: "grid", attributes: { "aria-label": "Slides" } });
  const empty = h("p", { class: "hint", attributes: { role: "status" } });
  const newer = button("Previous", () => again(tokens.slice(0, -1)));
  const older = button("Next", () => again([...tokens, next]));
  const pager = h("div", { class: "pager" }, newer, older);
  const chosen = h("div", { class: "chosen" });

  const drawChosen = () => {
    chosen.hidden = selected.size === 0;
    fill(chosen, h("strong", { text: `${count(selected.size)} selected` }),
      button(selected.size === 1 ? "Segment it" : "Segment them", () => void openSubmitDialog([...selected.values()]), { class: "primary" }),
      button("Select none", () => { selected.clear(); drawChosen(); again(); }));
  };
  /** @param {string[]} [wanted] tokens of the pages up to the one that is to be shown */
  const reload = async (wanted = tokens) => {
    turn += 1;
    const mine = turn;
    const query = new URLSearchParams({ page_size: String(PAGE), page_token: wanted.at(-1) ?? "", search: search.value });
    const page = /** @type {{slides: Slide[], next_page_token: string}} */ (await get(`/v1/slides?${query}`));
    if (mine !== turn) return;
    tokens = wanted;
    next = page.next_page_token;
    refill(grid, page.slides.map((slide) => card(slide, selected, drawChosen)));
    older.disabled = next === "";
    newer.disabled = tokens.length === 1;
    pager.hidden = older.disabled && newer.disabled;
    empty.textContent = page.slides.length > 0 ? "" : search.value ? "No slide has that in its name or folder." : "There are no slides. Start the server with --root FOLDER.";
    if (page.slides.some(notYet)) {
      const timer = window.setTimeout(() => void reload().catch(() => undefined), LOOK_AGAIN);
      disposal.add(() => window.clearTimeout(timer));
    }
  };
  const again = (/** @type {string[]} */ wanted = tokens) => void reload(wanted).catch(showError);
  const searchNow = debounced(250, () => {
    tokens = [""]; // also where the answer is lost: pages of another search are none of this one
    replaceQuery(search.value ? new URLSearchParams({ search: search.value }).toString() : "");
    again();
  });
  search.addEventListener("input", searchNow);
  disposal.add(searchNow.cancel);
  disposal.add(() => { turn += 1; });
  listen(disposal, server, "back", () => again());
  disposal.add(bindKeys([{ key: "/", does: "search for a slide", action: () => search.focus() }]));
  await reload();
  drawChosen();
  fill(main,
    h("div", { class: "page-head" }, h("h1", { text: "Slides" }), h("div", { class: "labelled search" }, h("label", { text: "Search", attributes: { for: "search" } }), search)),
    chosen, grid, empty, pager);
  return { ready: "slides" };
}

/** @param {Slide} slide */
function notYet(slide) {
  return slide.error?.startsWith("not opened yet") ?? false;
}

/**
 * @param {Slide} slide
 * @param {Map<string, Slide>} selected
 * @param {() => void} changed
 */
function card(slide, selected, changed) {
  const usable = !slide.error;
  const box = h("input", { id: `select-${slide.id}`, attributes: { type: "checkbox", checked: selected.has(slide.id), "aria-label": `Select ${slide.name}` }, on: {
    change: () => {
      if (box.checked) selected.set(slide.id, slide);
      else selected.delete(slide.id);
      changed();
    },
  } });
  const facts = slide.width && slide.height
    ? `${count(slide.width)} × ${count(slide.height)} px · ${slide.mpp ? `${significant(slide.mpp)}\u00a0µm/px` : "pixel size unknown"}`
    : "";
  return h("li", { class: "card slide-card", data: { slide: slide.id } },
    h("a", { class: "picture", attributes: { href: usable || notYet(slide) ? hrefOf("slide", [slide.id]) : null, tabindex: -1, "aria-hidden": "true" } }, usable ? thumbnail(slide) : h("span", { class: "no-picture", text: notYet(slide) ? "…" : "no picture" })),
    h("div", { class: "slide-name" },
      may("write") && usable ? box : null,
      usable || notYet(slide) ? h("a", { text: slide.name, attributes: { href: hrefOf("slide", [slide.id]), title: slide.name } }) : h("span", { text: slide.name })),
    h("small", { text: [slide.root, slide.folder].filter(Boolean).join(" / ") }),
    facts ? h("small", { text: facts }) : null,
    slide.error ? h("small", { class: notYet(slide) ? "" : "problem", text: notYet(slide) ? "is being looked at …" : slide.error }) : null,
  );
}

/**
 * Return the picture of a slide over words that say whether it is still made, or cannot be had.
 * @param {Slide} slide
 */
function thumbnail(slide) {
  const words = h("span", { class: "no-picture", text: "…" });
  const image = h("img", { attributes: { src: address(`/v1/slides/${slide.id}/thumbnail?size=256`), alt: "", loading: "lazy", width: 256, height: 256 } });
  let tries = 1;
  image.addEventListener("load", () => {
    words.remove();
    image.classList.remove("missing");
  });
  image.addEventListener("error", () => {
    image.classList.add("missing"); // the words say it better than the browser's sign of a broken picture
    if (tries === MOST_TRIES) {
      image.remove();
      words.textContent = "no picture";
      return;
    }
    const url = new URL(image.src);
    url.searchParams.set("size", String(256 - tries)); // another address: a failed one is not fetched again
    tries += 1;
    window.setTimeout(() => { image.src = url.href; }, LOOK_AGAIN);
  });
  return [words, image];
}
