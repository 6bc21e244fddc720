/**
 * What a reviewer has decided about outlines. A decision is a change that can be taken back; nothing else is copied, as a slide may have very many outlines.
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
 * @property {Map<string, Feature>} kept outlines that count: accepted, relabelled or drawn, by id
 * @property {Set<string>} rejected ids of outlines of the mask that were deleted
 */

/** @typedef {{kept: Feature|null, rejected: boolean}} Opinion of one outline */
/** @typedef {{id: string, before: Opinion, after: Opinion}} Change */

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
 * Write an opinion of an outline into decisions.
 * @param {Decisions} decisions
 * @param {string} id
 * @param {Opinion} opinion
 */
export function setOpinion({ kept, rejected }, id, opinion) {
  if (opinion.kept) kept.set(id, opinion.kept);
  else kept.delete(id);
  if (opinion.rejected) rejected.add(id);
  else rejected.delete(id);
}

/**
 * @param {Decisions} now
 * @param {Feature} feature
 * @returns {Change}
 */
export function accept(now, feature) {
  const review = reviewOf(feature) ?? "accepted";
  return keep(now, withReview(feature, review));
}

/**
 * @param {Decisions} now
 * @param {Feature} feature
 * @param {ClassChoice} choice
 * @returns {Change}
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
 * @returns {Change}
 */
export function reject(now, feature) {
  const before = opinionOf(now, feature.id);
  return { id: feature.id, before, after: { kept: null, rejected: before.rejected || reviewOf(feature) !== "drawn" } };
}

/**
 * Add an outline that was drawn.
 * @param {Decisions} now
 * @param {number[][]} ring closed
 * @param {ClassChoice} choice
 * @returns {Change}
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
  return keep(now, withReview(feature, "drawn"));
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
 * @returns {Change}
 */
function keep(now, feature) {
  return { id: feature.id, before: opinionOf(now, feature.id), after: { kept: feature, rejected: false } };
}

/**
 * @param {Decisions} now
 * @param {string} id
 * @returns {Opinion}
 */
function opinionOf(now, id) {
  return { kept: now.kept.get(id) ?? null, rejected: now.rejected.has(id) };
}

/**
 * @param {Feature} feature
 * @param {Review} review
 * @returns {Feature}
 */
function withReview(feature, review) {
  return { ...feature, properties: { ...feature.properties, metadata: { ...feature.properties.metadata, review } } };
}
