package qupath.lib.gui.viewer.overlays

import qupath.lib.gui.viewer.OverlayOptions

class PixelClassificationOverlay {
    private Map servers
    int maxThreads
    boolean livePrediction
    static PixelClassificationOverlay create(OverlayOptions options, Map servers, Object renderer) { new PixelClassificationOverlay(servers: servers) }
    def getPixelClassificationServer(data) { servers[data] }
}
