package wsisegment

import javafx.beans.property.ReadOnlyObjectWrapper
import javafx.scene.control.Button
import javafx.scene.control.CheckBox
import javafx.scene.control.ComboBox
import javafx.scene.control.Label
import javafx.scene.control.ListCell
import javafx.scene.control.Slider
import javafx.scene.control.TableColumn
import javafx.scene.control.TableView
import javafx.scene.control.TitledPane
import javafx.scene.layout.FlowPane
import javafx.scene.shape.Rectangle
import javafx.scene.paint.Color
import javafx.util.Callback

/** The part of the panel below its Run button: results that there are, what is drawn of them, and areas. */
class ShownResults {
    private final Panel panel
    private final Desk desk
    private final ComboBox<Map<String, String>> job = new ComboBox<Map<String, String>>()
    private final Slider opacity = new Slider(0, 1, 0.5)
    private final FlowPane classes = new FlowPane(8.0d, 4.0d)
    private final TableView<Map<String, Object>> table = new TableView<Map<String, Object>>()
    /** Buttons that wait for the server. */
    final List<Button> actions
    final TitledPane results, section

    ShownResults(Panel panel, Desk desk) {
        this.panel = panel
        this.desk = desk
        actions = [
            Form.button('find', 'Find', 'Ask the server for results of this slide') { findResults() },
            Form.button('show', 'Show overlay', 'The mask of the chosen result') { panel.attempt { panel.overlay(chosen()) } },
            Form.button('take', 'Take annotations', 'The outlines of the chosen result') { panel.attempt { panel.annotations(chosen()) } },
            Form.button('file', 'From a file...', 'Outlines of a GeoJSON file') { file() },
            Form.button('send', 'Send corrections', 'Keep the annotations, as they are now, beside the result') { panel.attempt { panel.corrections(chosen()) } },
            Form.button('remove', 'Remove results', 'Take out what came from here') { panel.work('removing') { desk.remove() } },
        ]
        job.id = 'job'
        job.maxWidth = Double.MAX_VALUE
        job.promptText = 'finished jobs of this slide'
        job.cellFactory = { list -> labelled() } as Callback
        job.buttonCell = labelled(job.promptText)
        opacity.id = 'opacity'
        opacity.valueProperty().addListener({ seen, before, now -> if (opacity.valueChanging || opacity.focused) desk.opacity = now as double } as javafx.beans.value.ChangeListener)
        classes.id = 'classes'
        table.id = 'table'
        table.prefHeight = 180.0d
        table.placeholder = new Label('Areas of a run or of a shown result stand here.')
        table.columns.setAll(column('Where', 'where'), column('Class', 'name'), column('mm²', 'mm2', '%.4f'), column('%', 'percent', '%.2f'))
        table.columnResizePolicy = TableView.CONSTRAINED_RESIZE_POLICY
        results = Form.section('results', 'Results', true, Form.row(job, actions[0]), Form.row(actions[1], actions[2], actions[3]), Form.row(actions[4], actions[5]))
        section = Form.section('drawn', 'Overlay and areas', true, Form.grid(['Opacity': opacity]), classes, table)
    }

    /**
     * Show what came out for the open image.
     *
     * @param outcome null for nothing
     * @param made the job that it came from just now, or empty
     */
    void show(Outcome outcome, String made) {
        table.items.setAll(outcome?.rows ?: [])
        classes.children.setAll(outcome?.tiles == null ? [] : boxes(outcome))
        if (made && !job.items.any { it.job == made }) {
            job.items.add(0, [job: made, label: "job ${made.take(6)}, just now".toString()])
            job.value = job.items[0]
        }
    }

    /** Another image is open: its results are not these. */
    void forget() {
        job.items.clear()
        job.value = null
    }

    /** Follow what the program does with the opacity. */
    void look() {
        if (!opacity.valueChanging && !opacity.focused) opacity.value = desk.opacity
    }

    private List<CheckBox> boxes(Outcome outcome) {
        def tiles = outcome.tiles
        def boxes = tiles.names.findAll { Integer id, String name -> id > 0 }.collect { Integer id, String name ->
            def box = new CheckBox(name)
            def color = tiles.colors[id]
            box.graphic = new Rectangle(12, 12, Color.rgb(color[0], color[1], color[2]))
            box.userData = id
            box.selected = !(id in outcome.hidden)
            return box
        }
        boxes.each { box -> box.onAction = { event -> desk.hide(boxes.findAll { !it.selected }*.userData as Set) } as javafx.event.EventHandler }
        return boxes
    }

    /** List the results of the open slide. Not named find: within a closure that would be the method of Groovy 4. */
    void findResults() {
        panel.attempt {
            def settings = panel.taken()
            panel.work('looking for results') { Progress progress ->
                def found = desk.finished(settings, progress)
                javafx.application.Platform.runLater {
                    job.items.setAll(found)
                    job.value = found.find()
                }
                return new Outcome(said: found ? "${found.size()} results of this slide" : 'the server has no result of this slide')
            }
        }
    }

    private void file() {
        def file = desk.chooseFile()
        if (file == null) return
        panel.attempt {
            def settings = panel.taken()
            settings.set('file', file.path)
            panel.annotations(settings)
        }
    }

    /** What the window's fields say, and the chosen result. */
    Settings chosen() {
        def settings = panel.taken()
        if (job.value != null) settings.set('job', job.value.job)
        return settings
    }

    /** @param none what stands there without an item: a cell of one's own loses the prompt of the box */
    private static ListCell<Map<String, String>> labelled(String none = null) {
        return new ListCell<Map<String, String>>() {
            @Override
            protected void updateItem(Map<String, String> item, boolean empty) {
                super.updateItem(item, empty)
                text = empty || item == null ? none : item.label
            }
        }
    }

    private static TableColumn<Map<String, Object>, Object> column(String title, String name, String format = null) {
        def made = new TableColumn<Map<String, Object>, Object>(title)
        made.cellValueFactory = { cell ->
            def value = cell.value[name]
            return new ReadOnlyObjectWrapper(format == null ? value : String.format(Locale.ROOT, format, value as double))
        } as Callback
        if (format != null) made.style = '-fx-alignment: center-right;'
        return made
    }
}
