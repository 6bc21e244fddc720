/**
 * What stands around every page: name, ways to the other pages, who is signed in.
 * @module
 */

import { button, fill, h } from "../lib/dom.js";
import { readSession, server, signIn, signOut } from "../server/api.js";
import { confirmed } from "./dialog.js";
import { showKeys } from "./keys.js";
import { notice, showError } from "./notices.js";
import { hrefOf } from "./router.js";
import { setReady } from "./ready.js";
import { themeButton } from "./theme.js";

/** @typedef {import("../server/types.js").Session} Session */

const PAGES = [
  { name: "slides", text: "Slides" },
  { name: "jobs", text: "Jobs" },
  { name: "batches", text: "Batches" },
];

/** @type {Session|null} */
let session = null;
/** Who was signed in last: what they have not saved is none of the next one's. @type {Session|null} */
let last = null;

/**
 * Return whether this browser may change things of others, or its own.
 * @param {"read"|"write"} kind
 */
export function may(kind) {
  return session !== null && (session.scopes.includes(kind) || session.scopes.includes(`${kind}-own`));
}

const who = h("span", { class: "who" });
const links = PAGES.map((page) => h("a", { text: page.text, attributes: { href: hrefOf(page.name) }, data: { page: page.name } }));
/** The place of the page. */
export const main = h("main", { id: "main", attributes: { tabindex: -1 } });

/** Build the frame into the document. */
export function mountFrame() {
  const skip = h("a", { class: "skip", text: "Skip to the page", attributes: { href: "#main" }, on: {
    click: (event) => { event.preventDefault(); main.focus(); },
  } });
  const header = h(
    "header",
    { class: "top" },
    h("a", { class: "brand", text: "wsi-segment", attributes: { href: hrefOf("slides") } }),
    h("nav", { attributes: { "aria-label": "Pages" } }, links),
    h("span", { class: "spacer" }),
    who,
    themeButton(),
    button("?", showKeys, { class: "quiet", name: "Keyboard shortcuts", title: "Keyboard shortcuts (?)" }),
  );
  const app = document.getElementById("app");
  if (app) fill(app, skip, header, main);
}

/**
 * Mark the page that is shown.
 * @param {string} name
 */
export function markPage(name) {
  for (const link of links) {
    if (link.dataset["page"] === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/**
 * Ask the server who this is; without a valid session where one is needed, show how to sign in.
 * @returns {Promise<boolean>} whether pages can be shown
 */
export async function enter() {
  session = await readSession();
  if (session.signed_in && last && (session.name !== last.name || session.owner !== last.owner)) {
    const { name } = last;
    if (!(await mayForget(`Go on without the review of ${name}?`, `A review of ${name} is not saved yet. It is lost if you go on as ${session.name}.`, "Discard it"))) {
      await signOut();
      session = await readSession();
      showSignIn(`To go on with the review, sign in with the key ${name}.`);
    }
  }
  if (session.signed_in) last = session;
  fill(who, session.key_needed && session.signed_in ? signedIn(session) : null);
  if (!session.key_needed || session.signed_in) return true;
  showSignIn();
  return false;
}

/** @param {Session} who */
function signedIn(who) {
  const out = button("Sign out", async () => {
    try {
      if (!(await mayForget("Sign out?", "A review is not saved yet, and would be lost.", "Sign out"))) return;
      await signOut();
      last = null;
      server.dispatchEvent(new Event("left"));
    } catch (error) {
      showError(error);
    }
  }, { class: "quiet", title: `Signed in with the key ${who.name} of ${who.owner}` });
  return [h("span", { class: "name", text: who.name }), out];
}

/**
 * Ask before something that is not saved is forgotten, and have it forgotten.
 * @param {string} title
 * @param {string} text
 * @param {string} yes what the button says
 * @returns {Promise<boolean>} whether it is
 */
async function mayForget(title, text, yes) {
  const losing = !server.dispatchEvent(new Event("leaving", { cancelable: true }));
  if (losing && !(await confirmed(title, text, yes))) return false;
  server.dispatchEvent(new Event("forget"));
  return true;
}

/** @param {string} [reason] */
function showSignIn(reason) {
  const there = main.querySelector("form.sign-in .problem");
  if (there) {
    if (reason) there.textContent ||= reason;
    return;
  }
  const key = h("input", { id: "key", attributes: { type: "password", autocomplete: "off", required: true, spellcheck: "false" } });
  const problem = h("p", { class: "problem", attributes: { role: "alert" }, text: reason ?? "" });
  const form = h(
    "form",
    { class: "sign-in card", on: {
      submit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        const value = key.value;
        key.value = ""; // kept nowhere: from here on the session's cookie stands for it
        problem.textContent = "";
        try {
          await signIn(value);
          server.dispatchEvent(new Event("signed-in"));
        } catch (error) {
          problem.textContent = error instanceof Error ? error.message : String(error);
          key.focus();
        }
      },
    } },
    h("h1", { text: "Sign in" }),
    h("p", { text: "This server asks for a key. Whoever runs the server can give you one. It is exchanged for a session of this browser, and then forgotten." }),
    h("label", { text: "Key", attributes: { for: "key" } }),
    key,
    problem,
    h("button", { text: "Sign in", class: "primary", attributes: { type: "submit" } }),
  );
  fill(main, form);
  key.focus();
  setReady("sign-in");
}

/** Go to the sign-in page when the session ends while the page is used. */
export function watchSession() {
  server.addEventListener("signed-out", async () => {
    if (!session?.key_needed || session.signed_in) notice("The session has ended. Sign in again.");
    session = null;
    fill(who);
    showSignIn("The session has ended, or a key is needed now.");
  });
}
