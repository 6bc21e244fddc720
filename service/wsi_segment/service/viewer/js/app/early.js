/**
 * Runs first, while the rest of the page is still on its way: asks the server for what the page shows that the address
 * names, and fetches its modules.
 * @module
 */

import { readSession } from "../server/api.js";
import { onTheProcessor } from "../view/drawers.js";
import { readResult } from "../view/result.js";
import { currentRoute } from "./router.js";

/** @typedef {import("../server/types.js").Session} Session */
/** @typedef {import("../view/result.js").Result} Result */

const route = currentRoute();
const entering = document.documentElement.dataset["entered"] === "true";
/** @type {Promise<Result|null>|null} */
let result = null;
if (entering && route.name === "view") result = readResult(route.parts[0] ?? "");
/** @type {Promise<Session>|null} */
let session = readSession();
if (!entering && route.name === "view") result = session.then((who) => (mayEnter(who) ? readResult(route.parts[0] ?? "") : null));
for (const begun of [session, result]) begun?.catch(() => undefined); // asked again by whoever needs it

// Modules come after the questions: some answers lead to further ones, and browsers have few requests under way at once.
window.setTimeout(() => {
  for (const page of ["", route.name || "slides"]) {
    /** @type {HTMLTemplateElement|null} */
    const modules = document.querySelector(`template[data-page="${CSS.escape(page)}"]`);
    if (modules) document.head.append(modules.content.cloneNode(true));
  }
  if (route.name === "view") onTheProcessor(); // while nothing else can be done yet
});

/**
 * Return whether pages can be shown to somebody.
 * @param {Session} who
 */
export function mayEnter(who) {
  return !who.key_needed || who.signed_in;
}

/**
 * Return who this browser is to the server: as it was asked for first, the first time, and asked anew from then on.
 * @returns {Promise<Session>}
 */
export async function firstSession() {
  const begun = session;
  session = null;
  return begun ? begun.catch(() => readSession()) : readSession();
}

/**
 * Return what a viewer must know of a job's mask: as it was asked for first, the first time, and asked anew from then on.
 * @param {string} id of the job
 * @returns {Promise<Result>}
 */
export async function firstResult(id) {
  const begun = id === route.parts[0] ? result : null;
  result = null;
  return (await begun?.catch(() => null)) ?? readResult(id);
}
