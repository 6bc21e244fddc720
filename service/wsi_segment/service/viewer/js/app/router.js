/**
 * Pages by the part of the address after `#`: `#/view/JOB?at=...`.
 * @module
 */

/** @typedef {{name: string, parts: string[], query: URLSearchParams}} Route */
/** @typedef {{ready: string, onRoute?: (route: Route) => boolean}} Page `ready`: its name when it is complete; `onRoute` returns whether the page itself went there */
/**
 * @typedef {(place: HTMLElement, route: Route, disposal: import("../lib/disposal.js").Disposal) => Promise<Page>} OpenPage fills
 *   a place of its own; `disposal` undoes what is left when it fails and when the page is left, also before it is open
 */

/** @returns {Route} */
export function currentRoute() {
  const [path = "", query = ""] = window.location.hash.replace(/^#\/?/, "").split("?", 2);
  const [name = "", ...parts] = path.split("/").map(decoded);
  return { name, parts, query: new URLSearchParams(query) };
}

/**
 * @param {string} text
 * @returns {string} as it is where a percent sign in it encodes nothing
 */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Return the address of a page.
 * @param {string} name
 * @param {string[]} [parts]
 * @param {Record<string, string>} [query]
 */
export function hrefOf(name, parts = [], query = {}) {
  const path = [name, ...parts].map(encodeURIComponent).join("/");
  const text = new URLSearchParams(query).toString();
  return `#/${path}${text ? `?${text}` : ""}`;
}

/**
 * Go to a page.
 * @param {string} name
 * @param {string[]} [parts]
 * @param {Record<string, string>} [query]
 */
export function go(name, parts, query) {
  window.location.hash = hrefOf(name, parts, query);
}

/**
 * Change what stands after `?` in place: the page stays, and the way back too.
 * @param {string} query as text
 */
export function replaceQuery(query) {
  const [path] = window.location.hash.split("?", 1);
  window.history.replaceState(null, "", `${path}${query ? `?${query}` : ""}`);
}
