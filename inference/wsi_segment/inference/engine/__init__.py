"""The engine: tissue, windows, network, stitching and regions."""
