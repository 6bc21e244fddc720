package wsisegment

import qupath.fx.utils.FXUtils
import qupath.lib.gui.QuPathGUI
import qupath.lib.images.ImageData

/** QuPath's window as the panel sees it: always the image that is open in it. */
class Workbench implements Desk {
    private static Panel panel

    private final File home
    /** What came out for an image: areas, and the mask that is drawn over it. */
    private final Map<ImageData<?>, Outcome> found = Collections.synchronizedMap(new WeakHashMap<ImageData<?>, Outcome>())

    Workbench(File home) { this.home = home }

    /** Open the panel, or bring it to the front, and go on with it there. */
    static void open(File home, Closure<?> then) {
        def settings = Settings.load([])
        FXUtils.runOnApplicationThread {
            if (panel == null) panel = new Panel(new Workbench(home), settings, QuPathGUI.getInstance().stage)
            panel.show()
            then(panel)
        }
    }

    /** Load the classes that the first click would wait for. */
    static void prepare() { [Panel, Steps, Results, MaskServer, Areas, Outlines].each { it.name } }

    @Override
    Map<String, Object> image() {
        def data = QuPathGUI.getInstance().imageData
        if (data == null) return null
        def selected = data.hierarchy.selectionModel.selectedObjects
        def size = data.server.pixelCalibration
        return [
            id         : System.identityHashCode(data),
            name       : data.server.metadata.name,
            mpp        : size.hasPixelSizeMicrons() ? size.averagedPixelSizeMicrons as double : 0.0d,
            annotations: data.hierarchy.annotationObjects.count { it.metadata[Results.MARK] == null } as int,
            cores      : (data.hierarchy.TMAGrid?.TMACoreList?.count { !it.isMissing() } ?: 0) as int,
            selected   : selected.count { (it.isAnnotation() || it.isTMACore()) && it.ROI?.isArea() } as int,
        ]
    }

    @Override
    void selectAnnotations() {
        def hierarchy = shownImage().hierarchy
        hierarchy.selectionModel.setSelectedObjects(hierarchy.annotationObjects.findAll { it.metadata[Results.MARK] == null }, null)
    }

    @Override
    void selectCores() {
        def hierarchy = shownImage().hierarchy
        hierarchy.selectionModel.setSelectedObjects(hierarchy.TMAGrid?.TMACoreList?.findAll { !it.isMissing() } ?: [], null)
    }

    @Override
    Outcome segment(Settings settings, Progress progress) { brought(settings, progress, settings.flag('overlay')) { it.segment() } }

    @Override
    Outcome overlay(Settings settings, Progress progress) { brought(settings, progress, true) { it.overlay() } }

    @Override
    Outcome annotations(Settings settings, Progress progress) { brought(settings, progress, false) { it.annotations() } }

    @Override
    Outcome corrections(Settings settings, Progress progress) { new Steps(home, shownImage(), settings, progress).corrections() }

    @Override
    List<Map<String, String>> finished(Settings settings, Progress progress) { new Steps(home, shownImage(), settings, progress).finished() }

    @Override
    Outcome remove() {
        def data = shownImage()
        def outcome = Steps.remove(data)
        Window.hide(data)
        found.remove(data)
        return outcome
    }

    @Override
    Outcome getShown() {
        def data = QuPathGUI.getInstance().imageData
        return data == null ? null : found[data]
    }

    @Override
    void hide(Set<Integer> ids) {
        def held = shown
        if (held?.tiles == null) return
        held.hidden = ids
        draw(QuPathGUI.getInstance().imageData, held)
    }

    @Override
    double getOpacity() { Window.opacity }

    @Override
    void setOpacity(double opacity) { Window.opacity = opacity }

    @Override
    File chooseFile() { Window.chooseFile() }

    @Override
    Boolean askCoarser(String warning) { Window.askCoarser(warning) }

    @Override
    void tell(String message, boolean failed) { Window.tell(message, failed) }

    @Override
    void tell(Throwable error) { Window.tell(error) }

    private Outcome brought(Settings settings, Progress progress, boolean overlay, Closure<Outcome> work) {
        def data = shownImage()
        def steps = new Steps(home, data, settings, progress)
        steps.askCoarser = { String warning -> Window.askCoarser(warning) }
        steps.stillOpen = { -> Window.isOpen(data) }
        def outcome = work(steps), before = found[data]
        if (overlay && outcome.tiles != null) {
            outcome.hidden = outcome.tiles.background
            draw(data, outcome)
        } else {
            outcome.tiles = before?.tiles
            outcome.hidden = before?.hidden ?: [] as Set<Integer>
        }
        if (!outcome.rows) outcome.rows = before?.rows ?: []
        found[data] = outcome
        Window.offer(steps.results.classes)
        return outcome
    }

    private static void draw(ImageData<?> data, Outcome outcome) {
        def classes = new Results(new OpenImage(data)).classesOf(outcome.tiles)
        Window.show(data, new MaskServer(data.server, outcome.tiles, outcome.tiles.base, classes, outcome.hidden))
    }

    private static ImageData<?> shownImage() {
        def data = QuPathGUI.getInstance().imageData
        if (data == null) throw new Failure('no image is open; open a slide first', 'no-image')
        return data
    }
}
