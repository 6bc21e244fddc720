package qupath.lib.gui.viewer

import qupath.lib.images.ImageData

class OverlayOptions {
    boolean showPixelClassification
    float opacity = 1
}

class QuPathViewer {
    ImageData<?> imageData
    OverlayOptions overlayOptions = new OverlayOptions()
    def customPixelLayerOverlay
    void resetCustomPixelLayerOverlay() { customPixelLayerOverlay = null }
    void repaint() { }
}
