package wsisegment

import groovy.transform.CompileStatic

import javafx.event.ActionEvent
import javafx.event.EventHandler
import javafx.geometry.Insets
import javafx.geometry.Pos
import javafx.scene.Node
import javafx.scene.control.Button
import javafx.scene.control.CheckBox
import javafx.scene.control.ComboBox
import javafx.scene.control.Control
import javafx.scene.control.Label
import javafx.scene.control.TextField
import javafx.scene.control.TitledPane
import javafx.scene.control.Tooltip
import javafx.scene.layout.ColumnConstraints
import javafx.scene.layout.GridPane
import javafx.scene.layout.HBox
import javafx.scene.layout.Priority
import javafx.scene.layout.Region
import javafx.scene.layout.VBox

/** Pieces of a window, each with the id that a test finds it by. */
@CompileStatic
class Form {
    static Button button(String id, String text, String help, Closure<?> pressed) {
        def made = new Button(text)
        made.onAction = { ActionEvent event -> pressed.call() } as EventHandler<ActionEvent>
        made.minWidth = Region.USE_PREF_SIZE
        return named(made, id, help)
    }

    static TextField field(String id, String text, String prompt, String help) {
        def made = new TextField(text)
        made.promptText = prompt
        return named(made, id, help)
    }

    static CheckBox check(String id, String text, boolean on, String help) {
        def made = new CheckBox(text)
        made.selected = on
        return named(made, id, help)
    }

    static ComboBox<String> choice(String id, List<String> items, String chosen, String help) {
        def made = new ComboBox<String>()
        made.items.setAll(items)
        made.value = chosen
        made.maxWidth = Double.MAX_VALUE
        return named(made, id, help)
    }

    static Label text(String id, String text = '') {
        def made = new Label(text)
        made.id = id
        made.wrapText = true
        made.minHeight = Region.USE_PREF_SIZE
        return made
    }

    static HBox row(Node... nodes) {
        def made = new HBox(6.0d, nodes)
        made.alignment = Pos.CENTER_LEFT
        for (Node node in nodes) if (node instanceof TextField || node instanceof ComboBox) HBox.setHgrow(node, Priority.ALWAYS)
        return made
    }

    /** Labels on the left, controls on the right. */
    static GridPane grid(Map<String, Node> rows) {
        def made = new GridPane()
        made.hgap = 8.0d
        made.vgap = 5.0d
        def right = new ColumnConstraints()
        right.hgrow = Priority.ALWAYS
        made.columnConstraints.setAll(new ColumnConstraints(), right)
        int index = 0
        for (Map.Entry<String, Node> row in rows.entrySet()) {
            def label = new Label(row.key)
            label.minWidth = Region.USE_PREF_SIZE
            label.labelFor = row.value
            made.addRow(index++, label, row.value)
        }
        return made
    }

    static TitledPane section(String id, String title, boolean open, Node... nodes) {
        def box = new VBox(6.0d, nodes)
        box.padding = new Insets(8)
        def made = new TitledPane(title, box)
        made.id = id
        made.expanded = open
        made.animated = false
        made.minWidth = 0.0d  // a long title is cut off rather than making the window wider
        return made
    }

    private static <T extends Control> T named(T control, String id, String help) {
        control.id = id
        if (help) control.tooltip = new Tooltip(help)
        return control
    }
}
