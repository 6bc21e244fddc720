package wsisegment

import groovy.transform.CompileStatic

import javafx.animation.KeyFrame
import javafx.animation.Timeline
import javafx.application.Platform
import javafx.event.ActionEvent
import javafx.event.EventHandler
import javafx.geometry.Insets
import javafx.scene.Node
import javafx.scene.Scene
import javafx.scene.control.Alert
import javafx.scene.control.Button
import javafx.scene.control.ButtonBar
import javafx.scene.control.ButtonType
import javafx.scene.control.CheckBox
import javafx.scene.control.ComboBox
import javafx.scene.control.Label
import javafx.scene.control.PasswordField
import javafx.scene.control.ProgressBar
import javafx.scene.control.RadioButton
import javafx.scene.control.ScrollPane
import javafx.scene.control.TextField
import javafx.scene.control.TitledPane
import javafx.scene.control.ToggleGroup
import javafx.scene.layout.VBox
import javafx.stage.Stage
import javafx.stage.Window as JavaFXWindow
import javafx.stage.WindowEvent
import javafx.util.Duration

/**
 * The window that stays open: what to run and where, how far it is, what came out.
 *
 * Knows JavaFX and a {@link Desk}, and nothing of QuPath. Methods are for the thread that draws; whatever waits for the
 * server runs in a thread of its own, one at a time.
 */
@CompileStatic
class Panel {
    static final String TITLE = 'WSI Segment', DEFAULT = "the server's default"
    private static final long LEAVING_MILLIS = 5000

    private final Desk desk
    private final Settings settings
    final Stage stage = new Stage()
    private final ShownResults shown
    private final Parameters parameters
    /** The opening of an image that the window was last made up for. */
    private Object seen = null
    private List<Map> models = new ArrayList<Map>()
    private volatile Working working
    private Thread running

    private final TitledPane server = Form.section('server', 'Server', false)
    private final TextField address, pathMap
    private final PasswordField key = new PasswordField()
    private final CheckBox upload
    private final ComboBox<String> model = Form.choice('model', [DEFAULT], DEFAULT, 'Models of the server')
    private final Label about = Form.text('about'), place = Form.text('place'), status = Form.text('status'), trouble = Form.text('trouble')
    private final RadioButton slide = new RadioButton('Whole slide'), selected = new RadioButton('Selected annotations and cores')
    private final Button run, cancel
    private final ProgressBar bar = new ProgressBar(0)

    /**
     * @param settings that the window begins with, and saves
     * @param owner window of the program, or null
     */
    Panel(Desk desk, Settings settings, JavaFXWindow owner) {
        this.desk = desk
        this.settings = settings
        shown = new ShownResults(this, desk)
        parameters = new Parameters(settings)
        address = Form.field('address', settings.text('server'), 'http://127.0.0.1:8000', 'Where wsi-segment serve listens')
        key.id = 'key'
        key.promptText = settings.text('key') ? 'saved; - removes it' : 'only if the server asks for one'
        pathMap = Form.field('path_map', settings.text('path_map'), 'CLIENT=SERVER', 'Such as Z:\\slides=/data/slides, several with ; between')
        upload = Form.check('upload', 'Upload a slide that the server does not see', settings.flag('upload'), 'Where the server allows it')
        run = Form.button('run', 'Run', 'Segment the open slide') { attempt { segment(taken()) } }
        cancel = Form.button('cancel', 'Cancel', 'Stop the job on the server') { working?.stop() }
        build(owner)
    }

    /** Show the window, or bring it to the front. */
    void show() {
        if (stage.showing) {
            stage.toFront()
            return
        }
        stage.show()
        look()
        connect()
    }

    void segment(Settings chosen) {
        work('segmenting') { Progress progress -> desk.segment(chosen, progress) }
    }

    void overlay(Settings chosen) { work('overlay') { Progress progress -> desk.overlay(chosen, progress) } }

    void annotations(Settings chosen) { work('annotations') { Progress progress -> desk.annotations(chosen, progress) } }

    /** Look for results of the open slide. */
    void findResults() { shown.findResults() }

    /** @param chosen null for what the window's fields say */
    void corrections(Settings chosen) {
        if (chosen == null) attempt { corrections(shown.chosen()) }
        else work('corrections') { Progress progress -> desk.corrections(chosen, progress) }
    }

    /** What the window's fields say; saved for the next run. */
    Settings taken() {
        settings.set('server', address.text.trim())
        if (key.text.trim()) settings.set('key', key.text.trim() == '-' ? '' : key.text.trim())
        settings.set('path_map', pathMap.text.trim())
        settings.set('upload', upload.selected)
        settings.set('model', model.value == DEFAULT ? '' : model.value)
        settings.set('where', slide.selected ? 'slide' : 'annotations')
        parameters.take(settings)
        settings.save()
        def copy = Settings.load(settings.recorded(), [:])
        copy.set('key', settings.text('key'))
        return copy
    }

    /** Do something that takes a while; its outcome is shown, its failure told. */
    void work(String title, Closure<?> does) {
        if (working != null) return
        def now = new Working(this)
        working = now
        Object began = desk.image()?.id
        busy(title)
        running = Thread.startDaemon(TITLE) {
            Object outcome = null
            String said = '', failed = ''
            try {
                outcome = does.call(now)
                said = outcome instanceof Outcome ? ((Outcome) outcome).said : ''
            } catch (Failure failure) {
                failed = failure.message
                if (failure.kind != 'cancelled') desk.tell(failed, true)
            } catch (Throwable error) {
                failed = "this should not have happened: ${error}"
                desk.tell(error)
            }
            if (said && !stage.showing) desk.tell(said, false)
            Platform.runLater {
                working = null
                idle(failed ?: said)
                // of another image where one was opened meanwhile: its results are not this one's
                if (desk.image()?.id == began) shown.show(desk.shown, outcome instanceof Outcome ? ((Outcome) outcome).job : '')
            }
        }
    }

    /** Do something at once; a failure is told. */
    void attempt(Closure<?> does) {
        try {
            does.call()
        } catch (Failure failure) {
            status.text = failure.message
        }
    }

    /** Say how far the work is; from any thread. */
    void say(String message, double share) {
        Platform.runLater {
            if (working == null) return
            status.text = message
            bar.progress = share < 0 ? ProgressBar.INDETERMINATE_PROGRESS : share
        }
    }

    private void busy(String title) {
        run.disable = true
        shown.actions.each { Button action -> action.disable = true }
        cancel.disable = false
        bar.progress = ProgressBar.INDETERMINATE_PROGRESS
        status.text = title
    }

    private void idle(String said) {
        shown.actions.each { Button action -> action.disable = false }
        cancel.disable = true
        bar.progress = 0
        if (said) status.text = said
        look()
    }

    /** Ask the server for its models; its answer, or what is wrong, stands in the title of its section. */
    private void connect() {
        attempt {
            def chosen = taken()
            server.text = "Server: ${chosen.text('server')}, connecting..."
            Thread.startDaemon(TITLE) {
                List<Map> found = []
                String said
                try {
                    found = new Jobs(Service.once(chosen)).models()
                    said = "Server: ${chosen.text('server')}, ${found.size()} model${found.size() == 1 ? '' : 's'}"
                } catch (Failure failure) {
                    said = failure.message
                }
                Platform.runLater {
                    offer(found)
                    server.text = said
                    trouble.text = found.isEmpty() ? said : ''  // whole, where a title is cut off
                    trouble.managed = found.isEmpty()
                    server.expanded = found.isEmpty()
                }
            }
        }
    }

    private void offer(List<Map> found) {
        models = found
        String before = settings.text('model')
        List<String> names = found.collect { Map one -> one.name as String }
        model.items.setAll([DEFAULT] + names)
        model.value = before in names ? before : DEFAULT
        describe()
    }

    /** The card of the chosen model. */
    private void describe() {
        Map card = models.find { Map one -> one.name == model.value } ?: models.find()
        about.text = card == null ? '' : [
            "${card.name} ${card.version}: ${card.description ?: ''}",
            researchOnly(card.intended_use as String ?: ''),
            card.limitations ? "Limitations: ${card.limitations}" : null,
            "Works at ${card.mpp} µm per pixel; classes: ${(card.classes as List<Map>).collect { Map one -> one.name }.join(', ')}",
            card.attribution ? "Cite: ${card.attribution}" : null,
            card.license ? "Licence: ${card.license}" : null,
        ].findAll().join('\n')
    }

    /** What a model is for; cards mostly say themselves that it is research alone. */
    private static String researchOnly(String use) { use ==~ /(?is)research (use )?only\b.*/ ? use : "Research use only. ${use}".toString() }

    /** Look at the open image: what is selected, and whether it states its pixel size. */
    private void look() {
        Map<String, Object> image = desk.image()
        if (image?.id != seen) {  // nothing of one slide is another one's
            seen = image?.id
            parameters.mpp.text = ''
            shown.forget()
            shown.show(desk.shown, '')
            if (working == null) status.text = ''
        }
        parameters.ask(image?.mpp as Double)
        boolean size = image != null && (image.mpp as double > 0 || parameters.mpp.text.trim())
        place.text = image == null ? 'No image is open.'
            : "${image.name}: ${image.selected} selected, of ${image.annotations} annotations and ${image.cores} TMA cores."
        run.disable = working != null || !size || (selected.selected && image.selected as int == 0)
        shown.look()
    }

    /**
     * What becomes of a job when this window or the whole program closes: it goes on, is cancelled, or nothing closes.
     *
     * @param program whether it is the program
     */
    private boolean closes(boolean program) {
        if (working == null) return true
        def goOn = new ButtonType('Let it run'), stop = new ButtonType('Cancel the job'), stay = new ButtonType(program ? 'Do not quit' : 'Keep the window', ButtonBar.ButtonData.CANCEL_CLOSE)
        def alert = new Alert(Alert.AlertType.CONFIRMATION, program ? 'It goes on at the server. Find brings its results later.' : 'Its results come into the image when it is done.', goOn, stop, stay)
        alert.initOwner(stage.showing ? stage : stage.owner)
        alert.title = TITLE
        alert.headerText = 'A job is running.'
        ButtonType answer = alert.showAndWait().orElse(stay)
        if (answer.is(stop)) working?.stop()
        if (answer.is(stop) && program) running.join(LEAVING_MILLIS)  // the server is told before the program is gone
        return !answer.is(stay)
    }

    private void build(JavaFXWindow owner) {
        def group = new ToggleGroup()
        [slide, selected].each { RadioButton one -> one.toggleGroup = group }
        slide.id = 'slide'
        selected.id = 'selected'
        (settings.text('where') == 'slide' ? slide : selected).selected = true
        cancel.disable = true
        trouble.managed = false
        bar.id = 'bar'
        bar.maxWidth = Double.MAX_VALUE
        about.style = '-fx-font-size: 0.9em;'
        model.onAction = { ActionEvent event -> describe() } as EventHandler<ActionEvent>
        ((VBox) server.content).children.setAll(
            trouble, Form.grid(['Address': address, 'Key': key, 'Path map': pathMap]), upload,
            Form.button('connect', 'Connect', 'Save, and ask the server for its models') { connect() })
        def pick = Form.row(
            Form.button('all_annotations', 'Select all annotations', 'All but those that came from here') { attempt { desk.selectAnnotations(); selected.selected = true } },
            Form.button('cores', 'TMA cores', 'Select the cores that are not missing') { attempt { desk.selectCores(); selected.selected = true } })
        def box = new VBox(8.0d,
            server, Form.grid(['Model': model]), Form.section('card', 'About this model (research use only)', false, about),
            Form.row(slide, selected), pick, place,
            parameters.section,
            Form.row(run, cancel), bar, status, shown.results, shown.section)
        box.padding = new Insets(10)
        def scroll = new ScrollPane(box)
        scroll.fitToWidth = true
        stage.scene = new Scene(scroll, 440.0d, 820.0d)
        stage.title = TITLE
        stage.minWidth = 430.0d
        stage.minHeight = 500.0d
        if (owner != null) {
            stage.initOwner(owner)
            owner.addEventFilter(WindowEvent.WINDOW_CLOSE_REQUEST, { WindowEvent event -> if (!closes(true)) event.consume() } as EventHandler<WindowEvent>)
            stage.x = Math.max(0.0d, owner.x + owner.width - 440.0d)
            stage.y = Math.max(0.0d, owner.y)
        }
        stage.onCloseRequest = { WindowEvent event -> if (!closes(false)) event.consume() } as EventHandler<WindowEvent>
        // looked at rather than listened to: images, selections and cores change in many ways
        def watch = new Timeline(new KeyFrame(Duration.millis(400), { ActionEvent event -> if (stage.showing) look() } as EventHandler<ActionEvent>))
        watch.cycleCount = Timeline.INDEFINITE
        stage.onShown = { WindowEvent event -> watch.play() } as EventHandler<WindowEvent>
        stage.onHidden = { WindowEvent event -> watch.stop() } as EventHandler<WindowEvent>
    }
}
