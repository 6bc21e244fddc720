#!/usr/bin/env bash
# An outline in a W3C Web Annotation is an SVG path. Mirador's are made by Paper.js, which writes every step relative to the
# one before ("M30000,20000l400,10l-100,150z"). One would guess that Annotorious, which draws such annotations on OpenSeadragon,
# shows them where they were drawn: its parser names the small letters of SVG, which stand for relative steps, beside the capitals.
# It takes them for capitals: steps of some hundred pixels become places near the corner of the slide, and the outline of
# a gland a spike from there across the slide. There is no error and no warning. With capitals the same outline is right.
# Seen with @annotorious/annotorious 3.8.10, paper 0.12.20 and jsdom 29.1.1, Node 20:
#     drawn in Paper.js: 30000,20000 to 30400,20300
#     M30000,20000l400,10l-100,150l90,140l-380,-10z: read as -380,-10 to 30000,20000, warnings 0
#     M30000,20000L30400,20010L30300,20160L30390,20300L30010,20290Z: read as 30000,20000 to 30400,20300, warnings 0
# What does help: writing paths with capitals before they are loaded.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts @annotorious/annotorious@3.8.10 paper@0.12.20 jsdom@29.1.1
cat > read.mjs <<'JS'
import assert from "node:assert";
import { createRequire } from "node:module";
import { JSDOM } from "jsdom";

const { window } = new JSDOM("<!doctype html>");
const names = ["window", "document", "DOMParser", "XMLSerializer", "HTMLElement", "Element", "Node", "SVGElement"];
for (const name of names) globalThis[name] = window[name];
const paper = createRequire(import.meta.url)("paper/dist/paper-core.js");
const { W3CImageFormat } = await import("@annotorious/annotorious");

let warnings = 0;
console.warn = console.error = () => { warnings += 1; };
paper.setup(new paper.Size(1, 1));
const corners = [[30000, 20000], [30400, 20010], [30300, 20160], [30390, 20300], [30010, 20290]];
const drawn = new paper.Path({ segments: corners, closed: true });
const { left, top, right, bottom } = drawn.bounds;
const wanted = `${left},${top} to ${right},${bottom}`;
console.log(`drawn in Paper.js: ${wanted}`);

function read(path) {
  const value = `<svg xmlns="http://www.w3.org/2000/svg"><path d="${path}" /></svg>`;
  const target = { source: "slide", selector: { type: "SvgSelector", value } };
  const { parsed, error } = W3CImageFormat("slide").parse({ id: "a", type: "Annotation", body: [], target });
  assert(!error);
  const { minX, minY, maxX, maxY } = parsed.target.selector.geometry.bounds;
  const found = `${minX},${minY} to ${maxX},${maxY}`;
  console.log(`${path}: read as ${found}, warnings ${warnings}`);
  return found;
}

const relative = read(drawn.pathData);
const absolute = read(`M${corners.join("L")}Z`);
assert.equal(absolute, wanted);
assert.equal(new paper.Path(`M${corners.join("L")}Z`).bounds.toString(), new paper.Path(drawn.pathData).bounds.toString());
assert(relative !== wanted && warnings === 0, "this has changed");
process.exit(0);
JS
node read.mjs
