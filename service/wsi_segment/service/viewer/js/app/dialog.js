/**
 * Dialogs: the browser's own, which keep the focus and close with Escape.
 * @module
 */

import { button, h, nextNumber } from "../lib/dom.js";

/** @typedef {import("../lib/dom.js").Child} Child */

/**
 * Show a dialog.
 * @param {string} title
 * @param {Child[]} content
 * @param {{actions?: Child[], wide?: boolean, onClose?: () => void, name?: string}} [options]
 * @returns {HTMLDialogElement}
 */
export function showDialog(title, content, options = {}) {
  const heading = h("h2", { id: `dialog-${nextNumber()}`, text: title });
  const dialog = h(
    "dialog",
    { class: options.wide ? "wide" : "", attributes: { "aria-labelledby": heading.id }, data: { dialog: options.name ?? "" } },
    h("header", {}, heading, button("×", () => dialog.close(), { class: "quiet", name: "Close" })),
    h("div", { class: "dialog-content", attributes: { tabindex: 0 } }, content),
    options.actions ? h("footer", {}, options.actions) : null,
  );
  const before = document.activeElement;
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before instanceof HTMLElement && before.isConnected) before.focus();
    options.onClose?.();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Close what is open, when its page is left; gone at once, as the event that removes a closed dialog comes later. */
export function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.close();
    dialog.remove();
  }
}

/**
 * Ask before something that cannot be undone.
 * @param {string} title
 * @param {string} text
 * @param {string} yes what the button says
 * @returns {Promise<boolean>}
 */
export function confirmed(title, text, yes) {
  return new Promise((resolve) => {
    let agreed = false;
    const agree = button(yes, () => {
      agreed = true;
      dialog.close();
    }, { class: "danger" });
    const dialog = showDialog(title, [h("p", { text })], {
      actions: [button("Keep", () => dialog.close()), agree],
      onClose: () => resolve(agreed),
    });
  });
}
