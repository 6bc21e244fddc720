package wsisegment

import javafx.application.Platform
import javafx.event.ActionEvent
import javafx.scene.control.ButtonType
import javafx.stage.Modality
import org.controlsfx.dialog.ProgressDialog
import qupath.fx.dialogs.Dialogs
import qupath.fx.dialogs.FileChoosers
import qupath.fx.utils.FXUtils
import qupath.lib.gui.QuPathGUI
import qupath.lib.gui.tools.GuiTools
import qupath.lib.gui.viewer.overlays.PixelClassificationOverlay
import qupath.lib.images.ImageData
import qupath.lib.objects.classes.PathClass
import qupath.lib.plugins.parameters.ParameterList

/** All that touches QuPath's window. Called from a thread of ours; only dialogs wait for the user. */
class Window {
    static final String TITLE = 'WSI Segment'
    private static final String DEFAULT_MODEL = "the server's default", WHOLE = 'whole slide', SELECTED = 'selected annotations'
    private static final String FROM_SERVER = 'a finished job', FROM_FILE = 'a GeoJSON file'
    private static final Map<String, String> ITEMS = [
        'Segment the slide...': 'wsi_segment.groovy',
        'Show an overlay...'  : 'import_overlay.groovy',
        'Take annotations...' : 'import_annotations.groovy',
        'Remove results'      : 'remove_results.groovy',
    ]

    /** Run something in a thread of its own, and tell how it failed. */
    static void background(Closure<?> work) {
        Thread.startDaemon(TITLE) {
            try {
                work()
            } catch (Failure failure) {
                if (failure.kind == 'cancelled') Dialogs.showWarningNotification(TITLE, failure.message)
                else Dialogs.showErrorNotification(TITLE, failure.message)
            } catch (Throwable error) {
                Dialogs.showErrorMessage(TITLE, error)
            }
        }
    }

    /** Run something here, with a dialog that shows how far it is and has a Cancel button; QuPath stays usable. */
    static void progress(String title, Closure<?> work) {
        def task = new WindowProgress(work)
        FXUtils.runOnApplicationThread {
            def dialog = new ProgressDialog(task)
            dialog.initOwner(QuPathGUI.getInstance().stage)
            dialog.initModality(Modality.NONE)
            dialog.title = TITLE
            dialog.headerText = title
            dialog.dialogPane.graphic = null
            dialog.dialogPane.buttonTypes.add(ButtonType.CANCEL)
            def button = dialog.dialogPane.lookupButton(ButtonType.CANCEL)
            button.addEventFilter(ActionEvent.ACTION) { ActionEvent event ->
                task.stopped = true  // not task.cancel(): it would break the request that tells the server
                dialog.headerText = 'cancelling'
                button.disable = true
                event.consume()
            }
        }
        task.run()
        if (task.failure != null) throw task.failure
    }

    /** Ask for all choices of a run; false where the user thought better of it. */
    static boolean askRun(Settings settings) {
        while (true) {
            List<Map> models
            try {
                models = new Jobs(Service.of(settings)).models()
            } catch (Failure failure) {
                if (!askServer(settings, failure.message)) return false
                continue
            }
            List<String> names = [DEFAULT_MODEL] + models.collect { it.name as String }
            String about = models.collect { "${it.name} ${it.version}: ${it.description} ${it.mpp} µm per pixel; ${it.classes*.name.join(', ')}" }.join('\n')
            def list = new ParameterList()
            list.addTitleParameter('What')
            list.addChoiceParameter('where', 'Segment', settings.text('where') == 'slide' ? WHOLE : SELECTED, new ArrayList<String>([WHOLE, SELECTED]), 'Select annotations first for the second')
            list.addChoiceParameter('model', 'Model', names.find { it == settings.text('model') } ?: DEFAULT_MODEL, new ArrayList<String>(names), about)
            list.addDoubleParameter('mpp', 'Pixel size (0: as the slide states)', settings.number('mpp'), 'µm', 'Of the full resolution, for slides that state none or a wrong one')
            list.addTitleParameter('Results')
            list.addBooleanParameter('overlay', 'Overlay', settings.flag('overlay'), 'The mask over the slide')
            list.addBooleanParameter('annotations', 'Annotations', settings.flag('annotations'), 'An annotation for each piece of a class')
            list.addDoubleParameter('min_area', 'Smallest annotation', settings.number('min_area'), 'µm²', 'Smaller pieces and holes are left out')
            list.addBooleanParameter('measurements', 'Areas by class', settings.flag('measurements'), 'On the image, or on the selected annotations')
            serverParameters(list, settings)
            if (!asked('Segment the slide', list)) return false
            String before = settings.text('server') + settings.text('key')
            settings.set('where', list.getChoiceParameterValue('where') == WHOLE ? 'slide' : 'annotations')
            String model = list.getChoiceParameterValue('model')
            settings.set('model', model == DEFAULT_MODEL ? '' : model)
            ['mpp', 'min_area'].each { settings.set(it, list.getDoubleParameterValue(it)) }
            ['overlay', 'annotations', 'measurements'].each { settings.set(it, list.getBooleanParameterValue(it)) }
            takeServer(list, settings)
            if (before == settings.text('server') + settings.text('key')) return true  // else there are other models to choose from
        }
    }

    /** Ask for the server alone. */
    static boolean askServer(Settings settings, String why) {
        def list = new ParameterList()
        list.addEmptyParameter(why)
        serverParameters(list, settings)
        if (!asked('Server', list)) return false
        takeServer(list, settings)
        return true
    }

    /** Ask where annotations come from. */
    static boolean askAnnotations(Settings settings) {
        def list = new ParameterList()
        list.addChoiceParameter('from', 'Annotations of', FROM_SERVER, new ArrayList<String>([FROM_SERVER, FROM_FILE]), '')
        list.addDoubleParameter('min_area', 'Smallest annotation', settings.number('min_area'), 'µm²', 'Smaller pieces and holes are left out')
        serverParameters(list, settings)
        if (!asked('Take annotations', list)) return false
        settings.set('min_area', list.getDoubleParameterValue('min_area'))
        takeServer(list, settings)
        if (list.getChoiceParameterValue('from') == FROM_SERVER) return true
        def file = FXUtils.callOnApplicationThread {
            FileChoosers.promptForFile(TITLE, FileChoosers.createExtensionFilter('GeoJSON', '*.geojson', '*.json', '*.geojson.gz', '*.json.gz'))
        }
        if (file == null) return false
        settings.set('file', file.path)
        return true
    }

    /** Yes: fewer; no: all; null: none. */
    static Boolean askCoarser(String warning, double minArea) {
        def answer = FXUtils.callOnApplicationThread {
            Dialogs.showYesNoCancelDialog(TITLE, "${warning}.\n\nTake only those of at least ${minArea} µm²? No takes all of them.")
        }
        return answer == ButtonType.YES ? Boolean.TRUE : answer == ButtonType.NO ? Boolean.FALSE : null
    }

    /** Which of several results. */
    static Tiles choose(List<Tiles> found, Map<String, String> labels) {
        def names = found.collect { labels[it.job] }
        String name = FXUtils.callOnApplicationThread { Dialogs.showChoiceDialog(TITLE, 'Which result?', names, names[0]) }
        return name == null ? null : found[names.indexOf(name)]
    }

    static void inform(String message) { Dialogs.showInfoNotification(TITLE, message) }

    /** Put an overlay over every viewer of an image. */
    static void show(ImageData<?> data, MaskServer server) {
        FXUtils.runOnApplicationThread {
            viewers(data).each { viewer ->
                // weak, so that a closed image is not kept by its overlay
                def overlay = PixelClassificationOverlay.create(viewer.overlayOptions, new WeakHashMap([(data): server]), null)
                overlay.maxThreads = 4
                overlay.livePrediction = true
                viewer.overlayOptions.showPixelClassification = true
                viewer.setCustomPixelLayerOverlay(overlay)
                viewer.repaint()
            }
        }
    }

    /** Take our overlay away; those of others stay. */
    static void hide(ImageData<?> data) {
        FXUtils.runOnApplicationThread {
            viewers(data).each { viewer ->
                def overlay = viewer.customPixelLayerOverlay
                boolean ours = overlay instanceof PixelClassificationOverlay && overlay.getPixelClassificationServer(data)?.serverType == MaskServer.TYPE
                if (ours) {
                    viewer.resetCustomPixelLayerOverlay()
                    viewer.repaint()
                }
            }
        }
    }

    /** Have classes in QuPath's list. */
    static void offer(Collection<PathClass> classes) {
        Platform.runLater {
            def known = QuPathGUI.getInstance().availablePathClasses
            known.addAll(classes.findAll { !(it in known) })
        }
    }

    static void installMenu(File home) {
        ITEMS.each { String item, String script ->
            QuPathGUI.getInstance().installGroovyCommand("Extensions>WSI Segment>${item}".toString(), new File(home, script))
        }
    }

    private static List viewers(ImageData<?> data) {
        return QuPathGUI.getInstance().allViewers.findAll { it.imageData.is(data) } as List
    }

    private static boolean asked(String title, ParameterList list) {
        return FXUtils.callOnApplicationThread { GuiTools.showParameterDialog("${TITLE}: ${title}".toString(), list) } ?: false
    }

    private static void serverParameters(ParameterList list, Settings settings) {
        list.addTitleParameter('Server')
        list.addStringParameter('server', 'Address', settings.text('server'), 'Where wsi-segment serve listens')
        list.addStringParameter('key', 'Key (empty: keep the saved one)', '', 'Of wsi-segment keys create; - removes it')
        list.addStringParameter('path_map', 'Path map', settings.text('path_map'), 'CLIENT=SERVER; such as Z:\\slides=/data/slides, several with ; between')
        list.addBooleanParameter('upload', 'Upload the slide if the server does not see it', settings.flag('upload'), 'Where the server allows it')
    }

    private static void takeServer(ParameterList list, Settings settings) {
        settings.set('server', list.getStringParameterValue('server').trim())
        settings.set('path_map', list.getStringParameterValue('path_map').trim())
        settings.set('upload', list.getBooleanParameterValue('upload'))
        String key = list.getStringParameterValue('key').trim()
        if (key) settings.set('key', key == '-' ? '' : key)
        settings.save()
    }
}
