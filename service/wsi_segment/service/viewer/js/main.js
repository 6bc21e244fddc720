/**
 * Starts the page: frame, session, and the page that the address names.
 * @module
 */

import { enter, main, markPage, mountFrame, watchSession } from "./app/frame.js";
import { closeDialogs } from "./app/dialog.js";
import { watchKeys } from "./app/keys.js";
import { forgetNotices, mountNotices, showError } from "./app/notices.js";
import { UnfetchedError, fetchOtherPages, pageOf } from "./app/pages.js";
import { setReady } from "./app/ready.js";
import { currentRoute, go } from "./app/router.js";
import { createDisposal } from "./lib/disposal.js";
import { fill, h } from "./lib/dom.js";
import { ApiError, server } from "./server/api.js";
import { watchConnection } from "./server/connection.js";

/** @typedef {import("./app/router.js").Page} Page */

/** Kinds of errors that mean no more than that a link was cut off, or mistyped. */
const UNKNOWN_ADDRESS = new Set(["invalid-request", "not-found"]);

/** @type {Page|null} */
let shown = null;
/** Undoes what the page has begun that is shown, or on its way. */
let disposal = createDisposal();
let turn = 0;
let unfetched = false;

/** Leave the page that is shown; one that is still on its way is not shown. */
function leave() {
  shown = null;
  disposal.dispose();
  closeDialogs();
}

async function show() {
  const route = currentRoute();
  if (route.name === "") {
    go("slides");
    return;
  }
  if (shown?.onRoute?.(route)) return;
  if (shown) forgetNotices();
  leave();
  turn += 1;
  const first = turn === 1;
  const mine = createDisposal();
  disposal = mine;
  const place = h("div", { class: "place" }); // of this page alone: one that comes late fills what nobody sees
  setReady("");
  markPage(route.name);
  fill(main, place);
  main.className = `page-${route.name}`;
  try {
    const open = await pageOf(route.name);
    const page = await open(place, route, mine);
    if (mine.disposed) return;
    shown = page;
    setReady(page.ready);
    fetchOtherPages();
    const heading = place.querySelector("h1")?.textContent;
    document.title = heading ? `${heading} · wsi-segment` : "wsi-segment";
    if (!first && (document.activeElement === document.body || document.activeElement === null)) main.focus({ preventScroll: true });
  } catch (error) {
    if (mine.disposed) return;
    mine.dispose();
    failed(place, error);
  }
}

/**
 * @param {HTMLElement} place
 * @param {unknown} error
 */
function failed(place, error) {
  const text = error instanceof ApiError && UNKNOWN_ADDRESS.has(error.kind) ? "Nothing has this address. It may be cut off, or mistyped." : error instanceof Error ? error.message : String(error);
  unfetched = error instanceof UnfetchedError;
  fill(
    place,
    h("section", { class: "card problem-page", attributes: { role: "alert" } },
      h("h1", { text: "This cannot be shown" }),
      h("p", { text }),
      h("p", {}, h("a", { text: "Jobs", attributes: { href: "#/jobs" } }), " · ", h("a", { text: "Slides", attributes: { href: "#/slides" } })),
    ),
  );
  setReady("problem");
}

async function start() {
  mountFrame();
  mountNotices();
  watchKeys();
  watchConnection();
  watchSession();
  window.addEventListener("hashchange", () => void show());
  server.addEventListener("signed-out", leave);
  server.addEventListener("forget", leave);
  server.addEventListener("signed-in", () => void entered());
  server.addEventListener("left", () => {
    leave();
    fill(main);
    void entered();
  });
  server.addEventListener("back", () => {
    if (unfetched) window.location.reload();
    else if (shown === null) void entered();
  });
  await entered();
}

async function entered() {
  try {
    if (await enter()) await show();
    else leave();
  } catch (error) {
    showError(error);
  }
}

void start();
