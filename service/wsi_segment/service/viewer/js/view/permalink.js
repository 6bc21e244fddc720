/**
 * The address of what is seen: position, zoom, classes, opacity. The browser's own address line has it too.
 * @module
 */

import { button, h } from "../lib/dom.js";
import { notice } from "../app/notices.js";
import { writeView } from "./view-state.js";

/** @type {import("./page.js").Feature} */
export function permalink({ pane, addPanel }) {
  const shown = h("input", { id: "permalink", attributes: { type: "text", readonly: true, "aria-label": "Link to this view" }, on: { focus: () => shown.select() } });
  const write = () => {
    const url = new URL(window.location.href);
    const [path] = url.hash.split("?", 1);
    url.hash = `${path}?${writeView(pane.state.get())}`;
    shown.value = url.href;
    return url.href;
  };
  const copy = button("Copy the link", async () => {
    const link = write();
    try {
      await navigator.clipboard.writeText(link); // over TLS and on loopback only
      const here = /^(localhost|127\.|\[::1\])/.test(window.location.hostname);
      notice(`The link is in the clipboard.${here ? ` It works on this computer only: the server is reached at ${window.location.hostname}.` : ""}`);
    } catch {
      shown.hidden = false;
      shown.focus();
      notice("Copy the link from the field.");
    }
  }, { title: "A colleague who opens it sees the same" });
  pane.state.subscribe(() => write());
  write();
  addPanel("Link to this view", h("div", { class: "controls" }, copy, shown), { name: "permalink", open: true });
}
