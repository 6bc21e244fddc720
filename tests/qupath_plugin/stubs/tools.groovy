package qupath.lib.gui.tools

import qupath.lib.plugins.parameters.ParameterList

class GuiTools {
    /** What the next users do: each closure changes a dialog's values, and says whether OK was pressed. */
    static final List<Closure<Boolean>> users = []
    static boolean showParameterDialog(String title, ParameterList list) { users.remove(0).call(list.values) }
}
