/**
 * What a job was asked for, in words: what jobs of one slide are told apart by.
 * @module
 */

import { count } from "../lib/format.js";
import { FIELDS, OTHER_FIELDS } from "../submit/fields.js";

/** @typedef {import("../server/types.js").Job} Job */

/**
 * List the parameters of a job that say something, those by default too, in the order of the dialog.
 * @param {Job} job
 * @returns {{name: string, text: string, value: string, byDefault: boolean}[]} `value` is empty where the text says it all
 */
export function parametersOf(job) {
  const place = (/** @type {string} */ name) => FIELDS.findIndex((one) => one.name === name);
  const stated = Object.entries(job.parameters).filter(([name, value]) => value !== null && value !== false && name !== "model");
  return stated.sort(([a], [b]) => place(a) - place(b)).map(([name, value]) => {
    const spec = FIELDS[place(name)];
    const text = spec?.text ?? `${name.charAt(0).toUpperCase()}${name.slice(1)}`.replaceAll("_", " ");
    return { name, text, value: worded(job, name, value), byDefault: value === spec?.choices?.[0] };
  });
}

/**
 * List those that can be asked for: the provenance of a mask of a folder has many more.
 * @param {Job} job
 */
function choicesOf(job) {
  return parametersOf(job).filter(({ name }) => OTHER_FIELDS.includes(name) || FIELDS.some((one) => one.name === name));
}

/**
 * Say in one line how a job differs from one that was asked for nothing but a slide and a model.
 * @param {Job} job
 */
export function asked(job) {
  const whole = job.parameters["region"] ? [] : ["Whole slide"];
  return [...whole, ...choicesOf(job).filter((one) => !one.byDefault).map(inWords)].join(" · ");
}

/**
 * List what a job was asked for and another one was not; of regions that are as large as each other, where they are.
 * @param {Job} job
 * @param {Job} other
 */
export function askedBeside(job, other) {
  const [own, theirs] = /** @type {Record<string, unknown>[]} */ ([job.parameters, other.parameters]);
  const said = choicesOf(other).map(inWords);
  return choicesOf(job).filter(({ name }) => JSON.stringify(own?.[name]) !== JSON.stringify(theirs?.[name])).map((one) => {
    const words = inWords(one);
    const [x, y] = one.name === "region" && job.region && said.includes(words) ? job.region : [];
    return x === undefined || y === undefined ? words : `${words} at x ${count(x)}, y ${count(y)}`;
  });
}

/** @param {Job} job */
export function modelOf(job) {
  return `${job.model}${job.model_version ? ` ${job.model_version}` : ""}`;
}

/** @param {{text: string, value: string}} parameter */
function inWords({ text, value }) {
  return `${text} ${value}`.trim();
}

/**
 * @param {Job} job
 * @param {string} name of a parameter
 * @param {unknown} value
 */
function worded(job, name, value) {
  if (name === "region" && job.region) {
    const [x0, y0, x1, y1] = job.region;
    return `${count(x1 - x0)} × ${count(y1 - y0)} px`;
  }
  if (typeof value === "object" || String(value).startsWith("geojson ")) return "as drawn";
  return value === true ? "" : String(value);
}
