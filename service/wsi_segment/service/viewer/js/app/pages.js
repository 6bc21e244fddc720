/**
 * The pages by the name in their address. Each is fetched when it is asked for, so that none waits for what another needs.
 * @module
 */

import { server } from "../server/api.js";

/** @typedef {import("./router.js").OpenPage} OpenPage */

/** @type {Record<string, () => Promise<OpenPage>>} */
const PAGES = {
  slides: async () => (await import("../slides/page.js")).openSlidesPage,
  jobs: async () => (await import("../jobs/page.js")).openJobsPage,
  batches: async () => (await import("../batches/page.js")).openBatchesPage,
  slide: async () => (await import("../slides/slide-page.js")).openSlidePage,
  view: async () => (await import("../view/page.js")).openViewPage,
  compare: async () => (await import("../compare/page.js")).openComparePage,
};

/**
 * Return what opens a page.
 * @param {string} name
 * @returns {Promise<OpenPage>}
 */
export async function pageOf(name) {
  const find = Object.hasOwn(PAGES, name) ? PAGES[name] : undefined;
  if (!find) throw new Error(`There is no page "${name}".`);
  return fetchedPart(find);
}

/** Part of the page could not be fetched. Browsers do not try again, so that only another load of the page mends it. */
export class UnfetchedError extends Error {}

/**
 * Return a part of the page.
 * @template T
 * @param {() => Promise<T>} find imports it
 * @returns {Promise<T>}
 */
export async function fetchedPart(find) {
  try {
    return await find();
  } catch {
    server.dispatchEvent(new Event("lost"));
    throw new UnfetchedError("Part of this page could not be fetched: the server is away, or has another version now. Reload the page.");
  }
}

let asked = false;

/** Fetch all pages when the first one is shown, so that the next is there at once, and while the server is away too. */
export function fetchOtherPages() {
  if (asked) return;
  asked = true;
  for (const find of [...Object.values(PAGES), () => import("../view/features.js")]) find().catch(() => undefined);
}
