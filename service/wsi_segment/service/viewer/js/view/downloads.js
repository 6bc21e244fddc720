/**
 * What can be taken along: outlines, areas, a picture, the mask itself.
 * @module
 */

import { listen } from "../lib/disposal.js";
import { button, h } from "../lib/dom.js";
import { address } from "../server/api.js";
import { mm2PerPixel } from "./legend.js";
import { savePicture } from "./snapshot.js";

/** @type {import("./page.js").Feature} */
export function downloads({ pane, addPanel, disposal }) {
  if (pane.result.growing) { // there is nothing to take along until the job has ended
    const wait = () => {
      if (pane.result.growing) return;
      pane.element.removeEventListener("result-replaced", wait);
      addDownloads(pane, addPanel);
    };
    listen(disposal, pane.element, "result-replaced", wait);
  } else addDownloads(pane, addPanel);
}

/**
 * @param {import("./pane.js").Pane} pane
 * @param {import("./page.js").View["addPanel"]} addPanel
 */
function addDownloads(pane, addPanel) {
  const { job } = pane.result;
  const at = address(`/v1/jobs/${job.id}/results`);
  const name = (job.slide_name ?? job.name ?? job.id).replace(/\.[a-z]+$/i, "");
  const zarr = new URL(`${at}/zarr`, window.location.href).href;
  const areas = h("a", { text: "Areas (CSV)", attributes: { href: "#", download: `${name}.areas.csv` } });
  areas.addEventListener("click", () => {
    areas.href = URL.createObjectURL(new Blob([areasCsv(pane.result.table)], { type: "text/csv" }));
  });
  const list = h(
    "ul",
    { class: "downloads" },
    h("li", {}, h("a", { text: "Outlines (GeoJSON)", attributes: { href: `${at}/objects.geojson`, download: `${name}.geojson` } })),
    h("li", {}, areas),
    h("li", {}, h("a", { text: "Summary (JSON)", attributes: { href: `${at}/summary.json`, download: `${name}.summary.json` } })),
    h("li", {}, h("a", { text: "Provenance (JSON)", attributes: { href: `${at}/provenance.json`, download: `${name}.provenance.json` } })),
    h("li", {}, button("Picture of the view (PNG)", () => void savePicture(pane), { title: "p, or the camera over the slide" })),
    h("li", {}, h("a", { text: "Mask (OME-Zarr, zipped)", attributes: { href: `${at}/zarr.zip`, download: `${name}.zarr.zip` } })),
    h("li", {}, h("label", { text: "Mask (OME-Zarr), address for napari, Fiji or Python", attributes: { for: "zarr-address" } }),
      h("input", { id: "zarr-address", attributes: { type: "text", readonly: true, value: zarr } })),
    h("li", {}, h("label", { text: "or a copy by command", attributes: { for: "zarr-command" } }),
      h("input", { id: "zarr-command", attributes: { type: "text", readonly: true, value: `wsi-segment fetch ${job.id} --out ${shellWord(`${name}.zarr`)}` } })),
  );
  addPanel("Downloads", list, { name: "downloads" });
}

/**
 * Return a text as one word of a POSIX shell: the name of a slide may hold anything.
 * @param {string} text
 */
function shellWord(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * Write the areas of the classes as a table.
 * @param {import("../server/types.js").TileTable} table
 */
export function areasCsv(table) {
  const classes = table.classes.filter((entry) => entry.id > 0);
  const tissue = classes.reduce((sum, entry) => sum + entry.pixels, 0);
  const each = mm2PerPixel(table);
  const quoted = (/** @type {string} */ text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = classes.map((entry) => {
    const share = tissue ? (100 * entry.pixels) / tissue : 0;
    return [entry.id, quoted(entry.name), entry.pixels, (entry.pixels * each).toFixed(6), share.toFixed(3)].join(",");
  });
  return `${["class_id,class,pixels,area_mm2,percent_of_tissue", ...rows].join("\n")}\n`;
}
