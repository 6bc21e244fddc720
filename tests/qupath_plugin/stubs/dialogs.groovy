package qupath.fx.dialogs

import javafx.scene.control.ButtonType

class Dialogs {
    static final List<String> shown = Collections.synchronizedList([])
    static ButtonType answer
    static void showInfoNotification(String title, String message) { shown << "info: ${message}".toString() }
    static void showWarningNotification(String title, String message) { shown << "warning: ${message}".toString() }
    static void showErrorNotification(String title, String message) { shown << "error: ${message}".toString() }
    static void showErrorMessage(String title, Throwable error) { shown << "broken: ${error}".toString() }
    static ButtonType showYesNoCancelDialog(String title, String message) { shown << "asked: ${message}".toString(); answer }
    static String showChoiceDialog(String title, String message, Collection<String> choices, String choice) { shown << "choice: ${choices}".toString(); choice }
}

class FileChoosers {
    static File file
    static def createExtensionFilter(String description, String... patterns) { null }
    static File promptForFile(String title, Object... filters) { file }
}
