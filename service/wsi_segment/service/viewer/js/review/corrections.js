/**
 * Corrections on the server: load them, save them as another version, list earlier versions.
 * @module
 */

import { get, send } from "../server/api.js";
import { newId } from "./edits.js";

/** @typedef {import("./edits.js").Decisions} Decisions */
/** @typedef {import("./edits.js").Feature} Feature */
/** @typedef {{version: number, author: string, saved: string}} Version */
/** @typedef {{decisions: Decisions, tag: string, version: Version}} Loaded */

/** @param {string} job */
function pathOf(job) {
  return `/v1/jobs/${job}/corrections.geojson`;
}

/**
 * Fetch corrections.
 * @param {string} job
 * @param {number} [version] an earlier one
 * @returns {Promise<Loaded|null>} null where nobody has sent any yet
 */
export async function loadCorrections(job, version) {
  if (version === undefined && (await listVersions(job)).length === 0) return null; // asked first: browsers log each 404 as an error
  const answer = await send("GET", `${pathOf(job)}${version === undefined ? "" : `?version=${version}`}`);
  const found = await answer.json();
  return {
    decisions: decisionsOf(found),
    tag: answer.headers.get("ETag") ?? "",
    version: { version: found.version, author: found.author, saved: found.saved },
  };
}

/**
 * Save corrections as another version.
 * @param {string} job
 * @param {Decisions} decisions
 * @param {string|null} tag of the version that is replaced; null where there is none
 * @returns {Promise<{tag: string, version: Version|null}>}
 */
export async function saveCorrections(job, decisions, tag) {
  /** @type {Record<string, string>} */
  const headers = tag === null ? { "If-None-Match": "*" } : { "If-Match": tag };
  const answer = await send("PUT", pathOf(job), { body: collectionOf(decisions), headers });
  const { version } = await answer.json();
  const versions = await listVersions(job).catch(() => []); // it is saved, whoever is said to have done so
  return { tag: answer.headers.get("ETag") ?? "", version: versions.find((one) => one.version === version) ?? null };
}

/**
 * List all versions, the newest first.
 * @param {string} job
 * @returns {Promise<Version[]>}
 */
export async function listVersions(job) {
  return (await get(`${pathOf(job)}/versions`)).versions;
}

/**
 * Write decisions as GeoJSON that QuPath and `wsi-segment train` read.
 * @param {Decisions} decisions
 */
export function collectionOf({ kept, rejected }) {
  return { type: "FeatureCollection", features: [...kept.values()], ...(rejected.size > 0 ? { rejected: [...rejected] } : {}) };
}

/**
 * @param {{features: any[], rejected?: string[]}} collection
 * @returns {Decisions}
 */
function decisionsOf(collection) {
  /** @type {Map<string, Feature>} */
  const kept = new Map();
  for (const one of collection.features) {
    const feature = typeof one.id === "string" ? one : { ...one, id: newId() };
    kept.set(feature.id, feature);
  }
  return { kept, rejected: new Set(collection.rejected ?? []) };
}
