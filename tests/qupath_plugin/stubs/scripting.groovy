package qupath.lib.scripting

import qupath.lib.images.ImageData

class QP {
    static ImageData<?> now
    static ImageData<?> getCurrentImageData() { now }
}
