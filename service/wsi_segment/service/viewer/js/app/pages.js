/**
 * The pages by the name in their address. Each is run when it is asked for, so that none waits for what another needs.
 * @module
 */

/** @typedef {import("./router.js").OpenPage} OpenPage */

/** @type {Record<string, OpenPage>} */
const PAGES = {
  slides: async (...place) => (await import("../slides/page.js")).openSlidesPage(...place),
  jobs: async (...place) => (await import("../jobs/page.js")).openJobsPage(...place),
  batches: async (...place) => (await import("../batches/page.js")).openBatchesPage(...place),
  slide: async (...place) => (await import("../slides/slide-page.js")).openSlidePage(...place),
  view: async (...place) => (await import("../view/page.js")).openViewPage(...place),
  compare: async (...place) => (await import("../compare/page.js")).openComparePage(...place),
};

/**
 * Return what opens a page.
 * @param {string} name
 * @returns {OpenPage}
 */
export function pageOf(name) {
  const found = Object.hasOwn(PAGES, name) ? PAGES[name] : undefined;
  if (!found) throw new Error(`There is no page "${name}".`);
  return found;
}
