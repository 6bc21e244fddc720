package qupath.lib.gui.prefs

import javafx.beans.property.SimpleStringProperty
import javafx.beans.property.StringProperty

class PathPrefs {
    private static final StringProperty STARTUP = new SimpleStringProperty()
    static StringProperty startupScriptProperty() { STARTUP }
}
