package qupath.lib.gui.extensions;

import qupath.lib.gui.QuPathGUI;

public interface QuPathExtension {
    void installExtension(QuPathGUI qupath);

    String getName();

    String getDescription();
}
