package qupath.lib.gui

import javafx.collections.FXCollections
import javafx.collections.ObservableList
import javafx.scene.control.MenuItem
import javafx.stage.Stage
import qupath.lib.gui.viewer.QuPathViewer
import qupath.lib.images.ImageData
import qupath.lib.objects.classes.PathClass

class QuPathGUI {
    static QuPathGUI instance
    ImageData<?> imageData
    Stage stage
    final ObservableList<QuPathViewer> allViewers = FXCollections.observableArrayList()
    final ObservableList<PathClass> availablePathClasses = FXCollections.observableArrayList()
    final Map<String, Runnable> commands = [:]
    MenuItem installCommand(String path, Runnable command) {
        commands[path] = command
        return null
    }
}
