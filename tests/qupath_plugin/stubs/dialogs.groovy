package qupath.fx.dialogs

import javafx.scene.control.ButtonType
import javafx.stage.FileChooser

class Dialogs {
    static final List<String> shown = Collections.synchronizedList([])
    static ButtonType answer
    static void showInfoNotification(String title, String message) { shown << "info: ${message}".toString() }
    static void showErrorNotification(String title, String message) { shown << "error: ${message}".toString() }
    static void showErrorNotification(String title, Throwable error) { shown << "broken: ${error}".toString() }
    static void showErrorMessage(String title, Throwable error) { shown << "broken: ${error}".toString() }
    static ButtonType showYesNoCancelDialog(String title, String message) { shown << "asked: ${message}".toString(); answer }
}

class FileChoosers {
    static File file
    static FileChooser.ExtensionFilter createExtensionFilter(String description, String... patterns) { null }
    static File promptForFile(String title, FileChooser.ExtensionFilter... filters) { file }
}
