"""Made slides against an oracle, as many as one likes: how many are right, refused (and why) and wrong."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from dataclasses import fields
from multiprocessing import get_context
from pathlib import Path

from hypothesis import Phase, given, seed, settings
from pebble import ProcessExpired, ProcessPool

sys.path.insert(0, str(Path(__file__).parents[1]))
from fuzz.files import Spec, made_files, outcome_of
from fuzz.oracle import Outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--kind", default="", help="only specifications of this class, such as DicomSpec")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=20, help="how many wrong ones to print")
    args = parser.parse_args()
    verdicts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    wrong: list[str] = []

    def look(spec: Spec) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcome = pool.schedule(outcome_of, args=[spec, Path(folder)], timeout=120).result()
            except (ProcessExpired, TimeoutError) as error:
                outcome = Outcome("wrong", f"the process ended: {error!r}")
        verdicts[f"{type(spec).__name__} {outcome.verdict}"] += 1
        if outcome.verdict == "refused":
            reasons[_kind_of(outcome.why)] += 1
        elif outcome.verdict == "wrong":
            wrong.append(f"{outcome.why}\n    {told(spec)}")

    with ProcessPool(max_workers=1, context=get_context("spawn")) as pool:  # a library may take its process with it
        for number in range(args.files):
            spec = drawn(args.seed + number)
            if args.kind in type(spec).__name__:
                look(spec)
    for name, count in sorted(verdicts.items()):
        print(f"{count:6d}  {name}")
    print("refused:")
    for reason, count in reasons.most_common():
        print(f"{count:6d}  {reason}")
    for line in wrong[: args.show]:
        print(f"WRONG {line}")
    return 1 if wrong else 0


def drawn(number: int) -> Spec:
    """Draw one file; hypothesis begins with the simplest, and by itself would go on with near-repeats."""
    found: list[Spec] = []

    @seed(number)
    @settings(max_examples=3, deadline=None, database=None, phases=[Phase.generate])
    @given(made_files())
    def draw(spec: Spec) -> None:
        found.append(spec)

    draw()
    return found[-1]


def told(spec: Spec) -> str:
    """Describe a file by what differs from the usual."""
    usual = type(spec)()
    odd = [
        f"{one.name}={getattr(spec, one.name)!r}"
        for one in fields(spec)
        if getattr(spec, one.name) != getattr(usual, one.name)
    ]
    return f"{type(spec).__name__}({', '.join(odd)})"


def _kind_of(reason: str) -> str:
    """Strip a refusal of what differs between files: their names and numbers."""
    text = re.sub(r"/\S*[\w/]:?|\bmade:", "", reason)
    return " ".join(re.sub(r"\d[\d.,]*", "#", text).split())[:110]


if __name__ == "__main__":
    sys.exit(main())
