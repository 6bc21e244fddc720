package org.controlsfx.dialog

import javafx.event.ActionEvent
import javafx.stage.Modality

class ProgressDialog {
    /** The last one, for a test to press its button. */
    static ProgressDialog last
    String title, headerText
    final Pane dialogPane = new Pane()

    ProgressDialog(task) { last = this }

    void initOwner(owner) { }
    void initModality(Modality modality) { }
    void pressCancel() { dialogPane.button.action.call(new ActionEvent()) }

    static class Pane {
        def graphic
        final List buttonTypes = []
        final Button button = new Button()
        Button lookupButton(type) { button }
    }

    static class Button {
        boolean disable
        Closure<?> action
        void addEventFilter(Object type, Closure<?> action) { this.action = action }
    }
}
