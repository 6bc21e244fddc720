package wsisegment

import javafx.scene.control.ButtonType
import qupath.fx.dialogs.Dialogs
import qupath.fx.dialogs.FileChoosers
import qupath.fx.utils.FXUtils
import qupath.lib.gui.QuPathGUI
import qupath.lib.gui.viewer.overlays.PixelClassificationOverlay
import qupath.lib.images.ImageData
import qupath.lib.objects.classes.PathClass

/** QuPath's own window: its viewers, menus, notifications and dialogs. */
class Window {
    static final String TITLE = 'WSI Segment'
    /** An overlay that nobody has made fainter yet would hide the slide. */
    private static final float HALF = 0.5f
    /** Entries of the menu, and the method of {@link Plugin} that each calls. */
    private static final Map<String, String> ITEMS = ['Segment...': 'segment', 'Send corrections': 'corrections', 'Remove results': 'remove']

    /** Run something in a thread of its own, and tell how it failed. */
    static void failing(Closure<?> work) {
        Thread.startDaemon(TITLE) {
            try {
                work()
            } catch (Failure failure) {
                tell(failure.message, true)
            } catch (Throwable error) {
                Dialogs.showErrorMessage(TITLE, error)
            }
        }
    }

    static void tell(String message, boolean failed) {
        if (failed) Dialogs.showErrorNotification(TITLE, message)
        else Dialogs.showInfoNotification(TITLE, message)
    }

    /** Show an error that nobody foresaw; QuPath's log gets where it happened. */
    static void tell(Throwable error) { Dialogs.showErrorNotification(TITLE, error) }

    static File chooseFile() {
        return FXUtils.callOnApplicationThread {
            FileChoosers.promptForFile(TITLE, FileChoosers.createExtensionFilter('GeoJSON', '*.geojson', '*.json', '*.geojson.gz', '*.json.gz'))
        }
    }

    /** Yes: fewer; no: all; null: none. */
    static Boolean askCoarser(String warning) {
        def answer = FXUtils.callOnApplicationThread {
            Dialogs.showYesNoCancelDialog(TITLE, "${warning}.\n\nTake only the largest? No takes all of them.")
        }
        return answer == ButtonType.YES ? Boolean.TRUE : answer == ButtonType.NO ? Boolean.FALSE : null
    }

    /** Put an overlay over every viewer of an image. */
    static void show(ImageData<?> data, MaskServer server) {
        FXUtils.runOnApplicationThread {
            viewers(data).each { viewer ->
                if (!covered(viewer, data) && viewer.overlayOptions.opacity > 0.99f) viewer.overlayOptions.opacity = HALF
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
            viewers(data).findAll { covered(it, data) }.each { viewer ->
                viewer.resetCustomPixelLayerOverlay()
                viewer.repaint()
            }
        }
    }

    static double getOpacity() {
        def viewers = QuPathGUI.getInstance().allViewers
        return viewers.isEmpty() ? 1.0d : viewers[0].overlayOptions.opacity
    }

    static void setOpacity(double opacity) {
        QuPathGUI.getInstance().allViewers.each { it.overlayOptions.opacity = opacity as float }
    }

    /** Have classes in QuPath's list. */
    static void offer(Collection<PathClass> classes) {
        FXUtils.runOnApplicationThread {
            def known = QuPathGUI.getInstance().availablePathClasses
            known.addAll(classes.findAll { !(it in known) })
        }
    }

    /** Add the menu; its entries call classes that are compiled already, rather than scripts. */
    static void installMenu(File home) {
        def gui = QuPathGUI.getInstance()
        ITEMS.each { String item, String action ->
            gui.installCommand("Extensions>WSI Segment>${item}".toString()) { -> new Plugin(null, home, gui.imageData)."${action}"() }
        }
    }

    static boolean isOpen(ImageData<?> data) { !viewers(data).isEmpty() }

    private static List viewers(ImageData<?> data) {
        return QuPathGUI.getInstance().allViewers.findAll { it.imageData.is(data) } as List
    }

    private static boolean covered(viewer, ImageData<?> data) {
        def overlay = viewer.customPixelLayerOverlay
        return overlay instanceof PixelClassificationOverlay && overlay.getPixelClassificationServer(data)?.serverType == MaskServer.TYPE
    }
}
