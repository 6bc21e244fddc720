"""From a slide to a mask: readers, tissue, windows, network, stitching, and the OME-Zarr store."""
