package qupath.lib.gui;

public class QuPathGUI {
}
