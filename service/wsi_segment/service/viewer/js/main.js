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
import { fill, h } from "./lib/dom.js";
import { ApiError, server } from "./server/api.js";
import { watchConnection } from "./server/connection.js";

/** @typedef {import("./app/router.js").Page} Page */

/** Kinds of errors that mean no more than that a link was cut off, or mistyped. */
const UNKNOWN_ADDRESS = new Set(["invalid-request", "not-found"]);

/** @type {Page|null} */
let shown = null;
let turn = 0;
let unfetched = false;

async function show() {
  const route = currentRoute();
  if (route.name === "") {
    go("slides");
    return;
  }
  if (shown?.onRoute?.(route)) return;
  turn += 1;
  const mine = turn;
  if (shown) forgetNotices();
  shown?.dispose();
  shown = null;
  closeDialogs();
  setReady("");
  markPage(route.name);
  fill(main);
  main.className = `page-${route.name}`;
  try {
    const open = await pageOf(route.name);
    const page = await open(main, route);
    if (mine !== turn) {
      page.dispose();
      return;
    }
    shown = page;
    fetchOtherPages();
    const heading = main.querySelector("h1")?.textContent;
    document.title = heading ? `${heading} · wsi-segment` : "wsi-segment";
    if (mine > 1 && (document.activeElement === document.body || document.activeElement === null)) main.focus({ preventScroll: true });
  } catch (error) {
    if (mine !== turn) return;
    failed(error);
  }
}

/** @param {unknown} error */
function failed(error) {
  if (error instanceof Error && "status" in error && error.status === 401) return; // the sign-in page is shown
  const text = error instanceof ApiError && UNKNOWN_ADDRESS.has(error.kind) ? "Nothing has this address. It may be cut off, or mistyped." : error instanceof Error ? error.message : String(error);
  unfetched = error instanceof UnfetchedError;
  fill(
    main,
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
  server.addEventListener("signed-out", () => {
    turn += 1; // what is still loading is not shown
    shown?.dispose();
    shown = null;
    closeDialogs();
  });
  server.addEventListener("signed-in", () => void entered());
  server.addEventListener("back", () => {
    if (unfetched) window.location.reload();
    else if (shown === null) void entered();
  });
  await entered();
}

async function entered() {
  try {
    if (await enter()) await show();
    else {
      shown?.dispose();
      shown = null;
    }
  } catch (error) {
    showError(error);
  }
}

void start();
