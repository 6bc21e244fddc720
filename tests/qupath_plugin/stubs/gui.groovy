package qupath.lib.gui

import qupath.lib.images.ImageData

class QuPathGUI {
    static QuPathGUI instance
    ImageData<?> imageData
    def stage
    final List allViewers = []
    final List availablePathClasses = []
    final Map<String, File> commands = [:]
    void installGroovyCommand(String path, File script) { commands[path] = script }
}
