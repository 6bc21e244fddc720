/**
 * The pages by the name in their address.
 * @module
 */

import { openComparePage } from "../compare/page.js";
import { openViewPage } from "../view/page.js";
import { openBatchesPage } from "../batches/page.js";
import { openJobsPage } from "../jobs/page.js";
import { openSlidePage } from "../slides/slide-page.js";
import { openSlidesPage } from "../slides/page.js";

/** @typedef {import("./router.js").OpenPage} OpenPage */

/** @type {Record<string, OpenPage>} */
const PAGES = {
  slides: openSlidesPage,
  jobs: openJobsPage,
  batches: openBatchesPage,
  slide: openSlidePage,
  view: openViewPage,
  compare: openComparePage,
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
