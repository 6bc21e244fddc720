from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, threading
from wsi_segment.inference.engine.scheduling.local_threads import run_tasks
ran = []
run_tasks(ran.append, [1, 2, 3], workers=2, done=lambda finished: None, stop=threading.Event())
assert sorted(ran) == [1, 2, 3]
print("distributed" in sys.modules)
"""


def test_regions_run_here_without_loading_the_cluster() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
