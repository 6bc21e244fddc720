/**
 * What a reviewer has decided about outlines. Every decision is a new value, so that undo goes back to an earlier one.
 * @module
 */

/**
 * @typedef {object} Feature an outline as QuPath writes it, in level-0 pixels from the corner of the slide's bounds
 * @property {"Feature"} type
 * @property {string} id
 * @property {{type: "Polygon", coordinates: number[][][]}|{type: "MultiPolygon", coordinates: number[][][][]}} geometry
 * @property {{classification: {name: string, color?: number[]}, name?: string, metadata?: Record<string, string>, [key: string]: any}} properties
 */

/**
 * @typedef {object} Decisions
 * @property {ReadonlyMap<string, Feature>} kept outlines that count: accepted, relabelled or drawn, by id
 * @property {ReadonlySet<string>} rejected ids of outlines of the mask that were deleted
 */

/** @typedef {{id: number, name: string, color: number[]}} ClassChoice */
/** @typedef {"accepted"|"relabelled"|"drawn"} Review */

/** @returns {Decisions} */
export function noDecisions() {
  return { kept: new Map(), rejected: new Set() };
}

/**
 * Return the name of a class as outlines have it: a colon would make a derived class in QuPath.
 * @param {string} name
 */
export function classNameOf(name) {
  return name.replaceAll(":", " -");
}

/**
 * @param {Decisions} now
 * @param {Feature} feature
 * @returns {Decisions}
 */
export function accept(now, feature) {
  const review = reviewOf(feature) ?? "accepted";
  return keep(now, withReview(feature, review));
}

/**
 * @param {Decisions} now
 * @param {Feature} feature
 * @param {ClassChoice} choice
 * @returns {Decisions}
 */
export function relabel(now, feature, choice) {
  const name = classNameOf(choice.name);
  const review = reviewOf(feature) === "drawn" ? "drawn" : "relabelled";
  const properties = { ...feature.properties, name, classification: { name, color: [...choice.color] } };
  return keep(now, withReview({ ...feature, properties }, review));
}

/**
 * Delete an outline; one of the mask is remembered as deleted.
 * @param {Decisions} now
 * @param {Feature} feature
 * @returns {Decisions}
 */
export function reject(now, feature) {
  const kept = new Map(now.kept);
  kept.delete(feature.id);
  if (reviewOf(feature) === "drawn") return { ...now, kept };
  return { kept, rejected: new Set(now.rejected).add(feature.id) };
}

/**
 * Add an outline that was drawn.
 * @param {Decisions} now
 * @param {number[][]} ring closed
 * @param {ClassChoice} choice
 * @returns {{decisions: Decisions, id: string}}
 */
export function draw(now, ring, choice) {
  const name = classNameOf(choice.name);
  /** @type {Feature} */
  const feature = {
    type: "Feature",
    id: newId(),
    geometry: { type: "Polygon", coordinates: [ring] },
    properties: { objectType: "annotation", name, isLocked: true, classification: { name, color: [...choice.color] } },
  };
  return { decisions: keep(now, withReview(feature, "drawn")), id: feature.id };
}

/**
 * Return how an outline came to be kept, as its metadata say.
 * @param {Feature} feature
 * @returns {Review|null}
 */
export function reviewOf(feature) {
  const said = feature.properties.metadata?.["review"];
  return said === "accepted" || said === "relabelled" || said === "drawn" ? said : null;
}

/** Return a random UUID; `crypto.randomUUID` exists over TLS and on loopback only. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (Number(bytes[6]) & 0x0f) | 0x40;
  bytes[8] = (Number(bytes[8]) & 0x3f) | 0x80;
  const text = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return text.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/**
 * @param {Decisions} now
 * @param {Feature} feature
 * @returns {Decisions}
 */
function keep(now, feature) {
  const rejected = new Set(now.rejected);
  rejected.delete(feature.id);
  return { kept: new Map(now.kept).set(feature.id, feature), rejected };
}

/**
 * @param {Feature} feature
 * @param {Review} review
 * @returns {Feature}
 */
function withReview(feature, review) {
  return { ...feature, properties: { ...feature.properties, metadata: { ...feature.properties.metadata, review } } };
}
