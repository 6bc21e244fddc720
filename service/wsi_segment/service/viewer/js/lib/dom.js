/**
 * Elements without templates: what a page shows is built from values, never from strings of HTML.
 * @module
 */

import { icon } from "./icons.js";

/** @typedef {Node|string|number|null|undefined|false} Child */

/**
 * @typedef {object} Options
 * @property {string} [class]
 * @property {string} [id]
 * @property {string} [text]
 * @property {Record<string, string|number|boolean|null|undefined>} [attributes] left out where null or false
 * @property {Record<string, string>} [data]
 * @property {Record<string, (event: any) => void>} [on] listeners by the name of the event
 */

/**
 * Build an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Options} [options]
 * @param {...(Child|Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  if (options.class) element.className = options.class;
  if (options.id) element.id = options.id;
  if (options.text !== undefined) element.textContent = options.text;
  for (const [name, value] of Object.entries(options.attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const [name, value] of Object.entries(options.data ?? {})) element.dataset[name] = value;
  for (const [name, listener] of Object.entries(options.on ?? {})) element.addEventListener(name, listener);
  append(element, children);
  return element;
}

/**
 * Append children; what is null or false is left out.
 * @param {Node} parent
 * @param {(Child|Child[])[]} children
 */
export function append(parent, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * Replace all that an element holds.
 * @param {Element} element
 * @param {...(Child|Child[])} children
 */
export function fill(element, ...children) {
  element.textContent = "";
  append(element, children);
}

/**
 * Replace all that an element holds, and leave the focus where it is: on what leads to the same place or has the same
 * name afterwards, or on the first thing that can have it.
 * @param {Element} element
 * @param {...(Child|Child[])} children
 */
export function refill(element, ...children) {
  const focused = document.activeElement;
  const within = focused !== null && focused !== element && element.contains(focused);
  const name = within ? nameOf(focused) : "";
  fill(element, ...children);
  if (!within) return;
  const places = /** @type {HTMLElement[]} */ ([...element.querySelectorAll("a[href]:not([tabindex]), button:enabled, input:enabled, select:enabled")]);
  (places.find((one) => nameOf(one) === name) ?? places[0])?.focus();
}

/** @param {Element} element */
function nameOf(element) {
  return element.id || element.getAttribute("href") || element.getAttribute("aria-label") || element.textContent;
}

/**
 * Build a button with a text.
 * @param {string} text
 * @param {() => void} action
 * @param {{class?: string, title?: string, name?: string, pressed?: boolean, disabled?: boolean, data?: Record<string, string>}} [options] `name`: for screen readers
 * @returns {HTMLButtonElement}
 */
export function button(text, action, options = {}) {
  return h("button", {
    class: options.class,
    text,
    data: options.data,
    attributes: {
      type: "button",
      title: options.title,
      "aria-label": options.name,
      "aria-pressed": options.pressed === undefined ? null : String(options.pressed),
      disabled: options.disabled ?? false,
    },
    on: { click: action },
  });
}

/**
 * Build a button with a picture.
 * @param {import("./icons.js").IconName} picture
 * @param {() => void} action
 * @param {{name: string, title?: string, pressed?: boolean}} options
 * @returns {HTMLButtonElement}
 */
export function iconButton(picture, action, options) {
  const made = button("", action, { ...options, class: "icon-button" });
  made.append(icon(picture));
  return made;
}

/**
 * Build a labelled control.
 * @param {string} text
 * @param {HTMLElement} control
 * @param {string} [help]
 * @returns {HTMLElement}
 */
export function field(text, control, help) {
  const id = control.id || (control.id = `field-${nextNumber()}`);
  const note = help ? h("small", { id: `${id}-help`, text: help }) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { text, attributes: { for: id } }), control, note);
}

let last = 0;

/** Return a number that no other element of the page has. */
export function nextNumber() {
  last += 1;
  return last;
}

/** Return whether keys go to a control that uses them itself: text, a list, a slider. */
export function typing() {
  const element = document.activeElement;
  if (!(element instanceof HTMLElement)) return false;
  if (element.isContentEditable || element instanceof HTMLTextAreaElement || element instanceof HTMLSelectElement) return true;
  return element instanceof HTMLInputElement && !["checkbox", "button", "submit"].includes(element.type);
}
