"""Segmenting the slides of a command: one, or all of a table, on this machine or on a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wsi_segment.errors import Cancelled, ClusterLostError, UnfitWorkerError, WsiSegmentError

if TYPE_CHECKING:
    from wsi_segment.inference.engine.cluster.connection import Connection
    from wsi_segment.inference.mask.mask import Mask
    from wsi_segment.inference.mask.summary import Summary
    from wsi_segment.inference.slides.slide import Slide
    from wsi_segment.service.cli.orders import ExtraOutputs, Order
    from wsi_segment.service.cli.printing import Display

_MOST_AT_ONCE = 64
"""Slides of a table that one command works on at once on a cluster; each takes a thread here, which mostly waits."""
_LOOK_SECONDS = 5.0
"""Seconds after which a command that waits for a slide to end looks again how many it may work on."""


def segment_one(
    order: Order,
    extras: ExtraOutputs,
    display: Display,
    cluster: Connection | None = None,
    stop: threading.Event | None = None,
) -> Summary:
    """Segment one slide, and write what else is wanted of it.

    Args:
        order: Which slide, and how.
        extras: What else is written.
        display: Shows progress and result.
        cluster: Computes it; None for this machine.
        stop: Set it to end the run.
    """
    from wsi_segment.inference.engine.segment import disk_errors, segment
    from wsi_segment.inference.mask.geojson import write_geojson
    from wsi_segment.inference.mask.preview import write_preview
    from wsi_segment.inference.progress import Progress
    from wsi_segment.model.card import DEFAULT_MODEL, find_model

    model = find_model(order.model or DEFAULT_MODEL)
    outlines = 0

    with display.running(order.slide.name) as report:

        def make_extras(slide: Slide, store: Mask, summary: Summary) -> None:
            nonlocal outlines
            if extras.preview is not None:
                with disk_errors(extras.preview):
                    write_preview(
                        extras.preview,
                        slide,
                        slide_mpp=summary.mpp,
                        store=store,
                        card=model.card,
                        areas=summary.classes,
                    )
            if extras.geojson is not None:
                with disk_errors(extras.geojson):
                    outlines = write_geojson(
                        extras.geojson,
                        store,
                        min_area_um2=extras.min_area_um2,
                        simplify_um=extras.simplify_um,
                        step=lambda done, total: report(Progress("outlines", done, total)),
                    )

        summary = segment(
            order.slide,
            model=model,
            out=order.out,
            options=order.options,
            report=report,
            stop=stop,
            before_publishing=make_extras if extras.wanted else None,
            scheduler=cluster,
        )
    display.result(summary)
    if extras.geojson is not None:
        display.line(f"{extras.geojson}: {outlines} outlines")
    return summary


def segment_table(
    orders: list[Order], extras: ExtraOutputs, display: Display, cluster: Connection | None
) -> tuple[list[Summary], int]:
    """Segment all slides; report one that fails, and go on with the others.

    On a cluster several are in hand at once, so that its workers have work while one slide is opened or finished.

    Returns:
        The summaries in the order of the slides, and how many failed.
    """
    table = _Table(lambda order, stop: segment_one(order, extras, display, cluster=cluster, stop=stop), display)
    if cluster is None:
        for order in orders:
            table.do(order)
    else:
        table.do_some_at_once(orders, lambda: max(2, min(_MOST_AT_ONCE, cluster.slots() // 4)))
    summaries = [table.done[order.out] for order in orders if order.out in table.done]
    display.line(f"{len(summaries)} segmented, {table.skipped} skipped, {table.failed} failed")
    return summaries, table.failed


@dataclass(slots=True)
class _Table:
    segment: Callable[[Order, threading.Event], Summary]
    display: Display
    stop: threading.Event = field(default_factory=threading.Event)
    done: dict[object, Summary] = field(default_factory=dict)
    failed: int = 0
    skipped: int = 0

    def do(self, order: Order) -> None:
        """Segment a slide, and count how that ended.

        Raises:
            Cancelled: the run was stopped.
            ClusterLostError: no slide after it can be segmented either.
            UnfitWorkerError: nor here, before somebody has mended the machine that it names.
        """
        from wsi_segment.inference.places.sites import site_of

        if not order.options.overwrite and site_of(order.out).is_taken():
            self.skipped += 1
            self.display.line(f"{order.out}: already exists, skipped{_made_otherwise(order)}")
            return
        try:
            self.done[order.out] = self.segment(order, self.stop)
        except (Cancelled, ClusterLostError, UnfitWorkerError):
            raise
        except WsiSegmentError as error:
            self.failed += 1
            place = "" if str(order.slide) in str(error) else f"{order.slide}: "
            self.display.error(f"{place}{error}")
        except Exception as error:  # a boundary: the slides after it are segmented all the same
            self.failed += 1
            self.display.error(f"{order.slide}: {type(error).__name__}: {' '.join(str(error).split())}")

    def do_some_at_once(self, orders: list[Order], most: Callable[[], int]) -> None:
        """Segment slides on several threads; what ends one of them ends all.

        Args:
            orders: Which slides.
            most: Says how many at once, for the workers that there are at the time; asked before each.
        """
        in_hand = set[Future[None]]()
        with ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="slide") as pool:
            try:
                for order in orders:
                    while len(in_hand) >= most():
                        in_hand = _still_in_hand(in_hand)
                    in_hand.add(pool.submit(self.do, order))
                while in_hand:
                    in_hand = _still_in_hand(in_hand)
            except BaseException:  # an interruption too
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _still_in_hand(in_hand: set[Future[None]]) -> set[Future[None]]:
    """Wait a while for a slide to end; return those that have not, or raise what ended one."""
    ended, others = wait(in_hand, _LOOK_SECONDS, FIRST_COMPLETED)
    for future in ended:
        future.result()
    return others


def _made_otherwise(order: Order) -> str:
    """Say where a mask is of another model, version or precision than what is asked for; nothing where it is not."""
    from wsi_segment.inference.engine.kinds.smooth import decision_of
    from wsi_segment.inference.mask.mask import Mask
    from wsi_segment.model.card import DEFAULT_MODEL, find_model

    try:
        card = find_model(order.model or DEFAULT_MODEL).card
        made = Mask.open(order.out).provenance
        model, parameters = made["model"], made["parameters"]
        precision, decided = parameters["precision"], decision_of(card)
        name, digest = f"{model['name']} {model['version']}", model["sha256"]
    except (WsiSegmentError, KeyError):  # of an early version, or no mask at all, or no such model
        return ""
    wanted = f"{card.name} {card.version}"
    if name != wanted:
        return f"; it was made by {name}, not by {wanted}: --overwrite replaces it"
    if digest not in card.files.values():
        return f"; it was made by another file of {name}: --overwrite replaces it"
    if any(parameters.get(name) != decided.get(name) for name in ("smoothing_um", "decision")):
        return "; kinds of lesion were smoothed or decided otherwise in it: --overwrite replaces it"
    if order.options.precision not in ("auto", precision):
        return f"; it was made in {precision}, not in {order.options.precision}: --overwrite replaces it"
    return ""
