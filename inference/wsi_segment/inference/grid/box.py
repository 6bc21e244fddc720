"""A rectangle of pixels, and the three frames that coordinates are in.

A name says its frame by its prefix:

- ``s_``: pixels of slide level 0;
- ``l_``: pixels of one slide level;
- ``m_``: pixels of the mask, that is of the slide at the model's mpp. Its origin is the top left
  corner of the slide's bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """Columns x0 to x1 and rows y0 to y1, the ends excluded.

    >>> box = Box(x0=10, y0=20, x1=110, y1=70)
    >>> box.width, box.height
    (100, 50)
    >>> box.intersect(Box(100, 0, 200, 200))
    Box(x0=100, y0=20, x1=110, y1=70)
    """

    x0: int
    """First column."""
    y0: int
    """First row."""
    x1: int
    """Column after the last one."""
    y1: int
    """Row after the last one."""

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.y1 - self.y0

    @property
    def empty(self) -> bool:
        """Return whether it holds no pixel."""
        return self.width <= 0 or self.height <= 0

    def intersect(self, other: Box) -> Box:
        """Return what both hold; empty where they do not meet."""
        return Box(max(self.x0, other.x0), max(self.y0, other.y0), min(self.x1, other.x1), min(self.y1, other.y1))

    def moved(self, dx: int, dy: int) -> Box:
        """Return a box of the same size elsewhere.

        >>> Box(0, 0, 8, 4).moved(10, -2)
        Box(x0=10, y0=-2, x1=18, y1=2)
        """
        return Box(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)

    def grown(self, by: int) -> Box:
        """Return the box with ``by`` pixels more on each side."""
        return Box(self.x0 - by, self.y0 - by, self.x1 + by, self.y1 + by)

    def aligned(self, step: int) -> Box:
        """Return the smallest box around this one whose sides lie on multiples of ``step``.

        >>> Box(10, 32, 70, 33).aligned(32)
        Box(x0=0, y0=32, x1=96, y1=64)
        """
        x0, y0 = self.x0 // step * step, self.y0 // step * step
        return Box(x0, y0, ceil_div(self.x1, step) * step, ceil_div(self.y1, step) * step)

    def tiles(self, side: int) -> Iterator[Box]:
        """Yield the squares of ``side`` pixels that cover the box, row by row; the last ones are cut off at its end."""
        for y in range(self.y0, self.y1, side):
            for x in range(self.x0, self.x1, side):
                yield Box(x, y, x + side, y + side).intersect(self)


def ceil_div(dividend: int, divisor: int) -> int:
    """Divide whole numbers and round up.

    >>> ceil_div(9, 4), ceil_div(8, 4)
    (3, 2)
    """
    return -(-dividend // divisor)
