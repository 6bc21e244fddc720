"""Look at one mask in the browser, with its slide under it, without setting a server up."""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import threading
import time
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_segment.errors import InputError

if TYPE_CHECKING:
    from wsi_segment.inference.mask.mask import Mask
    from wsi_segment.service.settings import Settings

HELP = "Open one mask in the browser, over its slide; ends with Ctrl-C."
_READY_SECONDS = 60.0
_LINK_SECONDS = 15.0
_LOOK_SECONDS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``view``."""
    parser.add_argument("mask", type=Path, metavar="MASK", help="finished mask (.zarr)")
    parser.add_argument(
        "--slide", type=Path, metavar="SLIDE", help="slide of the mask (default: the one in the summary)"
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port on this machine (default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def run(args: argparse.Namespace) -> int:
    """Serve the mask to this machine until Ctrl-C."""
    from wsi_segment.extras import needs_extra

    with needs_extra("service", "the viewer"):
        from wsi_segment.service.startup import run_server
    from wsi_segment.inference.mask.mask import Mask

    mask = Mask.open(args.mask)
    slide = _slide_of(mask, args.mask, args.slide)
    _log_warnings_only()
    with tempfile.TemporaryDirectory(prefix="wsi-segment-view-") as scratch:
        settings = _settings(Path(scratch), args.mask.resolve(), slide, args.port or _free_port())
        opener = threading.Thread(
            target=_open_page, args=(settings, slide, args.mask, not args.no_browser), name="open page", daemon=True
        )
        opener.start()
        with suppress(KeyboardInterrupt):
            run_server(settings)
    return 0


def _slide_of(mask: Mask, path: Path, given: Path | None) -> Path | None:
    """Return the slide of a mask: the given one, or that of the summary beside it, or none.

    Raises:
        InputError: the given one is not the one that the mask was made of.
    """
    import json

    from wsi_segment.inference.mask.summary import summary_paths

    candidate = given
    if candidate is None:
        try:
            named = json.loads(summary_paths(path)[0].read_text(encoding="utf-8"))["slide"]
            candidate = Path(named) if Path(named).exists() else None
        except (OSError, ValueError, KeyError, TypeError):
            candidate = None
    if candidate is None:
        print("the slide is not known; --slide shows it under the mask", file=sys.stderr)
        return None
    if not candidate.exists():
        raise InputError(f"{candidate}: no such slide")
    if _fingerprint(candidate) != mask.provenance["slide"]["fingerprint"]:
        if given is not None:
            raise InputError(f"{given}: not the slide that {path} was made of; leave `slide` out, or give that one")
        print(f"{candidate} is not the slide any more that the mask was made of; it is left out", file=sys.stderr)
        return None
    return candidate.resolve()


def _fingerprint(slide: Path) -> str:
    from wsi_segment.inference.slides.fingerprint import slide_fingerprint
    from wsi_segment.inference.slides.slide_files import slide_files

    return slide_fingerprint(slide_files(slide))


def _settings(scratch: Path, store: Path, slide: Path | None, port: int) -> Settings:
    """Return the settings of a server for one result; what the environment says of other servers does not count."""
    from wsi_segment.inference.mask.summary import summary_paths
    from wsi_segment.service.settings import Settings

    results = scratch / "results"
    results.mkdir()
    for path in (store, *filter(Path.exists, summary_paths(store))):
        try:
            (results / path.name).symlink_to(path, target_is_directory=path.is_dir())
        except OSError:  # Windows lets few users make links
            results = store.parent
            break
    root = () if slide is None else (f"slide={slide.parent}",)
    return Settings.model_construct(
        root=root, data=scratch / "data", results=(str(results),), workers=0, port=port, min_free=0
    )


def _open_page(settings: Settings, slide: Path | None, store: Path, browser: bool) -> None:
    """Wait until the server answers, have it find slide and mask, and open the page."""
    import httpx

    from wsi_segment.inference.mask.summary import store_stem

    url = f"http://{settings.host}:{settings.port}"
    with httpx.Client(base_url=url, timeout=_READY_SECONDS, trust_env=False) as http:
        _wait(lambda: http.get("/health/live").is_success, _READY_SECONDS)
        if slide is not None:
            http.get("/v1/slides", params={"path": f"slide/{slide.name}"})  # by which the server knows its fingerprint

        def found() -> dict[str, Any] | None:
            jobs = http.get("/v1/jobs").json()["jobs"]
            mine = [job for job in jobs if job["name"] == store_stem(store.name)]
            linked = mine and (slide is None or mine[0]["slide_name"] is not None)
            return mine[0] if linked else None

        job = _wait(found, _LINK_SECONDS)
    page = f"{url}/#/view/{job['id']}" if job else f"{url}/#/jobs"
    print(f"{page}\nends with Ctrl-C", flush=True)
    if browser:
        webbrowser.open(page)


def _wait(answer: Any, seconds: float) -> Any:
    """Call something until it returns what counts as true; None where it did not in time."""
    import httpx

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if value := answer():
                return value
        except httpx.TransportError:
            pass
        time.sleep(_LOOK_SECONDS)
    return None


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _log_warnings_only() -> None:
    import logging

    from wsi_segment.service.logs import set_up_logs

    set_up_logs("text")
    logging.getLogger().setLevel(logging.WARNING)
