"""Datasets, splits and patches; no PyTorch."""
