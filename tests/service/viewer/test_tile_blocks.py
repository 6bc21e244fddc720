"""Tiles that are fetched together, run by node: each is in one block, and comes out of its picture as it is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from live_server import ROOT
from tools import absent
from wsi_segment.service.api.mask_tiles import MOST_ACROSS

MODULE = ROOT / "service" / "wsi_segment" / "service" / "viewer" / "js" / "view" / "tile-blocks.js"
SCRIPT = """
const { blocksOf, partOf, tilesOf } = await import(process.argv[1]);
const most = Number(process.argv[2]);
const check = (right, what) => { if (!right) throw new Error(what); };
const key = ({ z, x, y }) => `${z}/${x}/${y}`;
let seed = 7;
const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
for (let turn = 0; turn < 300; turn += 1) {
  const [across, down] = [1 + Math.floor(20 * random()), 1 + Math.floor(12 * random())];
  const share = turn % 3 ? random() : 1;
  const tiles = [];
  for (let y = 0; y < down; y += 1) {
    for (let x = 5; x < across + 5; x += 1) if (random() < share) tiles.push({ z: 2, x, y });
  }
  tiles.sort(() => random() - 0.5);
  const blocks = blocksOf(tiles);
  const names = (some) => some.map(key).sort().join();
  check(names(blocks.flatMap(tilesOf)) === names(tiles), "each tile once, and no other");
  check(blocks.every(({ columns, rows }) => columns <= most && rows <= most), "as large as the server makes them");
  if (share === 1) check(blocks.length === Math.ceil(across / most) * Math.ceil(down / most), "as few as can be");
  check(blocksOf(tiles, 1).length === tiles.length, "single ones");
  if (tiles.length > 0) check(tilesOf(blocks[0]).map(key).includes(key(tiles[0])), "the most urgent first");
}
const image = { width: 5, height: 3, values: Uint8Array.from({ length: 15 }, (_, index) => index) };
const part = (left, top) => {
  const found = partOf(image, left, top, 2);
  return found && [found.width, found.height, ...found.values].join();
};
check(part(2, 0) === "2,2,2,3,7,8", "a whole one");
check(part(4, 2) === "1,1,14", "at the corner");
check(part(6, 0) === null && part(0, 4) === null, "where there is nothing");
"""


def test_tiles_are_put_together_to_few_blocks_and_taken_out_of_their_pictures(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        absent("node is not installed; .ci/tools brings it")
    module = shutil.copy(MODULE, tmp_path / "tile-blocks.mjs")
    command = [node, "--input-type=module", "-e", SCRIPT, Path(module).as_uri(), str(MOST_ACROSS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
