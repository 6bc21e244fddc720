/**
 * Short messages that come and go, and one that stays while the server is away. Screen readers read them out.
 * @module
 */

import { button, h } from "../lib/dom.js";
import { server } from "../server/api.js";

const SECONDS = 8;

const list = h("div", { class: "notices", id: "notices", attributes: { role: "status", "aria-live": "polite" } });
const banner = h("div", { class: "banner", id: "connection", attributes: { role: "alert", hidden: true } });

/** Put the places for messages into the page. */
export function mountNotices() {
  document.body.append(banner, list);
  server.addEventListener("away", () => {
    banner.textContent = "The server does not answer. It is tried again; nothing is lost.";
    banner.hidden = false;
  });
  server.addEventListener("back", () => {
    banner.hidden = true;
    notice("The server is back.");
  });
}

/**
 * Show a message for some seconds.
 * @param {string} text
 * @param {{kind?: "info"|"error", action?: {text: string, run: () => void}}} [options] an error stays until it is closed
 */
export function notice(text, options = {}) {
  const kind = options.kind ?? "info";
  const action = options.action;
  const shown = h(
    "div",
    { class: `notice ${kind}` },
    h("span", { text }),
    action ? button(action.text, () => { shown.remove(); action.run(); }) : null,
    button("×", () => shown.remove(), { class: "quiet", name: "Close this message" }),
  );
  list.append(shown);
  while (list.children.length > 4) list.firstElementChild?.remove();
  if (kind === "info") window.setTimeout(() => shown.remove(), 1000 * SECONDS);
}

/** Take away what was said of a page that is left; errors stay. */
export function forgetNotices() {
  for (const shown of list.querySelectorAll(".info")) shown.remove();
}

/**
 * Show an error as a message, unless it is that the server is away, which the banner says.
 * @param {unknown} error
 */
export function showError(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  if (error instanceof Error && "status" in error && error.status === 0) return;
  notice(error instanceof Error ? error.message : String(error), { kind: "error" });
}
