"""Looks into listed slides one after the other, behind the list that does not wait for it."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from wsi_segment.errors import SlideError
from wsi_segment.service.workers.slide_catalogue import FoundSlide

_MOST_WAITING = 20_000

log = logging.getLogger(__name__)


class SlideDetails:
    """The slides of one server that wait to be looked into; safe to use from several threads."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, FoundSlide] = OrderedDict()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._over = False

    def want(self, found: Iterable[FoundSlide], describe: Callable[[FoundSlide], object]) -> None:
        """Have slides described one by one, those that are asked for last first; returns at once."""
        with self._lock:
            for slide in reversed(list(found)):
                self._waiting[slide.id] = slide
                self._waiting.move_to_end(slide.id)
            while len(self._waiting) > _MOST_WAITING:
                self._waiting.popitem(last=False)
            if self._waiting and self._thread is None and not self._over:
                self._thread = threading.Thread(target=self._run, args=(describe,), name="slide details", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop after the slide that is looked into."""
        with self._lock:
            self._over = True
            self._waiting.clear()

    def _run(self, describe: Callable[[FoundSlide], object]) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                _, slide = self._waiting.popitem()
            try:
                describe(slide)
            except SlideError:
                continue  # the reason is kept with the slide
            except Exception as error:  # the list says again that it was not looked at; the next one tries again
                log.warning("a slide could not be looked into: %s", type(error).__name__)
