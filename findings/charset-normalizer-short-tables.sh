#!/usr/bin/env bash
# A short table, as Excel saves it as plain CSV in the code page of the computer. One would guess that charset-normalizer's best
# match reads French as cp1252 and Russian as cp1251, the code pages of all such computers. A few lines are too little for
# it: French becomes cp1250, Russian big5hkscs, and the file names in the table name nothing that exists.
# Seen with charset-normalizer 3.5.3 on Linux x86-64, Python 3.11:
#     cp1252, taken for cp1250: Crčme_brűlée.svs
#     cp1251, taken for big5hkscs: ⺧鳧鍒.svs
# What does help: asking, for each code page that can decode the table, whether the files exist that it would name.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet charset-normalizer==3.5.3
PYTHONIOENCODING=utf-8 "$folder/venv/bin/python" - <<'PYTHON'
from charset_normalizer import from_bytes

found = []
for name, page in (("Crème_brûlée", "cp1252"), ("Иванов", "cp1251")):
    best = from_bytes(f"slide;mpp\r\n{name}.svs;0,5\r\n".encode(page)).best()
    assert best is not None
    read = str(best).split("\r\n")[1].split(";")[0]
    found.append((best.encoding, read == f"{name}.svs"))
    print(f"{page}, taken for {best.encoding}: {read}")
assert found == [("cp1250", False), ("big5hkscs", False)], "this has changed"
PYTHON
