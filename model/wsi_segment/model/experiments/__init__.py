"""Experiments over shares of masks and labels, their tables and figures."""
