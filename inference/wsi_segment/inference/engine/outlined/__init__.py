"""Outlines that say where to look: the cells that they touch, and whether they lie on tissue."""
