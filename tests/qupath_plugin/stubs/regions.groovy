package qupath.lib.regions

class ImagePlane { }
