/**
 * What a job can be asked for, beside its slide: the fields of `POST /v1/jobs`, and how the dialog asks for them.
 * @module
 */

/**
 * @typedef {object} FieldSpec
 * @property {string} name as the server names it
 * @property {string} text
 * @property {"number"|"whole"|"choice"|"tick"} kind
 * @property {string} help
 * @property {string[]} [choices] the first one stands for the default, which is not sent
 * @property {number} [min]
 * @property {number} [max]
 * @property {number} [step]
 */

/** @type {FieldSpec[]} */
export const FIELDS = [
  { name: "mpp", text: "Pixel size (µm per pixel)", kind: "number", min: 0.05, max: 100, step: 0.0001, help: "Only where the slide does not state it, or states it wrongly." },
  { name: "probabilities", text: "Keep probabilities", kind: "tick", help: "For colour maps and thresholds; takes more room on the disk." },
  { name: "strict", text: "Fail rather than end with doubts", kind: "tick", help: "A doubt, such as another pixel size than the model's, fails the job." },
  { name: "tissue", text: "Tissue", kind: "choice", choices: ["otsu", "none"], help: "How tissue is found; with none, all of the slide is segmented." },
  { name: "precision", text: "Precision", kind: "choice", choices: ["auto", "fp32", "bf16", "fp16", "int8"], help: "auto is what is fast on the server." },
  { name: "window", text: "Window (mask pixels)", kind: "whole", min: 1, max: 8192, step: 1, help: "Side of a block, or of the model's windows." },
  { name: "overlap", text: "Overlap", kind: "number", min: 0, max: 0.9, step: 0.01, help: "Share of a window that its neighbour covers too; slower." },
  { name: "image", text: "Image of the file", kind: "whole", min: 0, max: 10000, step: 1, help: "Where a file holds several; empty for the slide." },
  { name: "apply_icc", text: "Apply the colour profile", kind: "tick", help: "Brings the scanner's colours to sRGB first." },
  { name: "ome_zarr", text: "OME-Zarr version", kind: "choice", choices: ["0.5", "0.4"], help: "0.4 for programs that read nothing newer, such as QuPath." },
  { name: "priority", text: "Priority", kind: "whole", min: -10, max: 10, step: 1, help: "Jobs with a larger one come first." },
];

/** Names of fields that the dialog asks for in another way, or fills in itself. */
export const OTHER_FIELDS = ["slide", "model", "region", "width", "height"];

/** How many of the fields stand at the top; the others unfold. */
export const FIRST_FIELDS = 3;

/**
 * Read what stands in a control, as the server takes it.
 * @param {FieldSpec} spec
 * @param {HTMLInputElement|HTMLSelectElement} control
 * @returns {string|number|boolean|null} null for the default
 */
export function valueOf(spec, control) {
  if (spec.kind === "tick") return control instanceof HTMLInputElement && control.checked ? true : null;
  if (control.value === "" || control.value === spec.choices?.[0]) return null;
  return spec.kind === "choice" ? control.value : Number(control.value);
}
