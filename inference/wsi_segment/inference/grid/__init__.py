"""Boxes, the lattice of windows, and the regions of a mask."""
