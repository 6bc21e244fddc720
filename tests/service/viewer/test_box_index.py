"""The index of outlines by place, run by node beside a search through all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from live_server import ROOT
from tools import absent

MODULE = ROOT / "service" / "wsi_segment" / "service" / "viewer" / "js" / "review" / "box-index.js"
SCRIPT = """
const { BoxIndex } = await import(process.argv[1]);
let seed = 7;
const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
const box = () => {
  const [x, y, size] = [random() * 9000 - 500, random() * 9000 - 500, 4000 * random() ** 6];
  return [x, y, x + size * random(), y + size * random()];
};
const meet = (a, b) => a[2] >= b[0] && a[3] >= b[1] && a[0] <= b[2] && a[1] <= b[3];
const index = new BoxIndex();
const all = new Map();
let found = 0;
for (let turn = 0; turn < 4000; turn += 1) {
  const id = String(Math.floor(random() * 900));
  if (random() < 0.3) { index.delete(id); all.delete(id); }
  else { const one = box(); index.set(id, one, id); all.set(id, one); }
  if (turn % 20) continue;
  const wanted = random() < 0.2 ? [-1e4, -1e4, 2e4, 2e4] : box();
  const right = [...all].filter(([, one]) => meet(one, wanted)).map(([id]) => id).sort();
  const got = index.within(wanted).sort();
  if (got.join() !== right.join()) throw new Error(`${wanted}: ${got} and not ${right}`);
  if (index.within(wanted, 3).length !== Math.min(3, right.length)) throw new Error("not as many as are enough");
  found += got.length;
}
if (index.size !== all.size) throw new Error("size");
console.log(found);
"""


def test_the_index_finds_what_a_search_through_all_finds(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        absent("node is not installed; .ci/tools brings it")
    module = shutil.copy(MODULE, tmp_path / "box-index.mjs")
    command = [node, "--input-type=module", "-e", SCRIPT, Path(module).as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10_000
