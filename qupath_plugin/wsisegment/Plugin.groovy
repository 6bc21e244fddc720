package wsisegment

import qupath.lib.gui.QuPathGUI
import qupath.lib.images.ImageData

import java.awt.Shape
import java.nio.file.Files
import java.nio.file.Path

/**
 * What the scripts do. Each makes one of these and calls one method.
 *
 * In QuPath's window a run has a thread of its own, asks first, and ends with a notification. Without a window, and
 * for each image of a project, it runs where it was called, asks nothing, prints lines, and fails with an exception.
 */
class Plugin {
    private final Script script
    private final File home
    private final ImageData<?> data
    private final boolean window, asks
    private final List<String> arguments
    private Settings settings

    /**
     * @param script that was started; its binding has the arguments
     * @param home folder of the scripts
     * @param data of the image that the script is for, or null
     */
    Plugin(Script script, File home, Object data) {
        this.script = script
        this.home = home
        this.data = (ImageData<?>) data
        arguments = (given('args') ?: []) as List<String>
        def gui = QuPathGUI.getInstance()
        boolean oneImage = ((given('qupath.script.batchSize') ?: 1) as int) == 1
        window = gui != null && oneImage && (data == null || data.is(gui.imageData))
        asks = window && arguments.isEmpty()
    }

    /** Have the open slide segmented, and bring in what was asked for. */
    void segment() {
        go { OpenImage image ->
            if (asks && !Window.askRun(settings)) return
            working('segmenting') { Progress progress ->
                def service = Service.of(settings)
                def jobs = new Jobs(service)
                service.lost = { String message -> progress.say(message, -1) }
                service.cancelled = { -> progress.isStopRequested() }
                def parents = settings.text('where') == 'annotations' ? image.selected() : []
                progress.say('looking the slide up', -1)
                Map<String, Object> body = [slide: slideId(jobs, image, progress), width: image.width, height: image.height]
                body += settings.choices()
                if (parents) body.region = image.region(parents)
                String job = jobs.submit(body).id
                progress.say("job ${job} was accepted", 0)
                jobs.await(job, progress)
                bring(service, image, job, parents, progress)
            }
        }
    }

    /** Show the overlay of a job that is done. */
    void overlay() {
        go { OpenImage image ->
            if (!window) throw new Failure("an overlay needs QuPath's window; take the annotations instead", 'no-window')
            if (asks && !Window.askServer(settings, 'Overlay of a finished job')) return
            working('overlay') { Progress progress ->
                def service = Service.of(settings)
                def tiles = chosen(service, image, progress)
                if (tiles == null) return
                show(service, image, tiles, new Results(image))
                done("the overlay of job ${tiles.job} is shown")
            }
        }
    }

    /** Take the annotations of a job that is done, or of a file. */
    void annotations() {
        go { OpenImage image ->
            if (asks && !Window.askAnnotations(settings)) return
            working('annotations') { Progress progress ->
                def results = new Results(image)
                if (settings.text('file')) {
                    Path file = Path.of(settings.text('file'))
                    if (!Files.isRegularFile(file)) throw new Failure("${file}: no such file", 'no-file')
                    done(added(results, image, file, file.fileName.toString(), progress))
                } else {
                    def service = Service.of(settings)
                    def tiles = chosen(service, image, progress)
                    if (tiles != null) done(fetched(service, tiles, results, image, progress))
                }
                if (window) Window.offer(results.classes)
            }
        }
    }

    /** Remove what these scripts brought in. */
    void remove() {
        go { OpenImage image ->
            int count = new Results(image).remove()
            if (window) Window.hide(data)
            done("${count} annotations, the measurements and the overlay were removed; Edit > Undo brings the annotations back")
        }
    }

    /** Add the menu Extensions > WSI Segment. */
    void menu() {
        if (QuPathGUI.getInstance() == null) throw new Failure("menus need QuPath's window", 'no-window')
        Window.installMenu(home)
    }

    /** Everything is fetched before anything is changed in the image. */
    private void bring(Service service, OpenImage image, String job, List parents, Progress progress) {
        def results = new Results(image)
        def tiles = fitting(service, image, job)
        List<String> said = ["job ${job} is done"]
        Map areas = settings.flag('measurements') ? measured(service, image, tiles, parents, progress) : [:]
        if (settings.flag('measurements') && areas.isEmpty()) said << 'the image states no pixel size, areas were left out'
        if (settings.flag('annotations')) said << fetched(service, tiles, results, image, progress)
        areas.each { parent, Map<String, Double> mm2 -> results.measure(parent, mm2) }
        if (settings.flag('overlay') && window) show(service, image, tiles, results)
        else if (window) Window.offer(results.classes)
        results.record(new File(home, 'wsi_segment.groovy'), settings.recorded())
        done(said.join('; '))
    }

    private String slideId(Jobs jobs, OpenImage image, Progress progress) {
        String kept = "WSI Segment upload to ${settings.text('server')}"
        String earlier = image.data.getProperty(kept)
        if (earlier != null && jobs.knows(earlier)) return earlier
        try {
            return jobs.findSlide(image.path, new PathMap(settings.text('path_map'))).id
        } catch (Failure failure) {
            if (failure.kind != 'unknown-slide' || !settings.flag('upload')) throw failure
            progress.say('the server does not see the slide; uploading it', -1)
            String made = jobs.upload(Path.of(image.path)).id
            image.data.setProperty(kept, made)
            return made
        }
    }

    /** The result that the settings or the user name: the newest that fits, where there is but one. */
    private Tiles chosen(Service service, OpenImage image, Progress progress) {
        if (settings.text('job')) return fitting(service, image, settings.text('job'))
        progress.say('looking for results of this slide', -1)
        List<Map> finished = new Jobs(service).finished(50)
        List<Tiles> found = finished.collect { Map job -> readable(service, job.id as String) }
            .findAll { it != null && it.misfit(image.width, image.height) == null }
        if (found.isEmpty())
            throw new Failure("${service.base} has no result of a slide of ${image.width} x ${image.height} px; run the segmentation, or serve the mask with --results", 'no-result')
        if (found.size() == 1) return found[0]
        if (asks) return Window.choose(found, finished.collectEntries { [it.id, "${it.model}, ${it.finished ?: it.created}, job ${it.id}".toString()] })
        throw new Failure("several results are of a slide of this size; say job=ID, one of ${found*.job.join(', ')}", 'several-results')
    }

    private static Tiles readable(Service service, String job) {
        try {
            return new Tiles(service, job)
        } catch (Failure ignored) {  // its files were removed meanwhile
            return null
        }
    }

    private static Tiles fitting(Service service, OpenImage image, String job) {
        def tiles = new Tiles(service, job)
        String misfit = tiles.misfit(image.width, image.height)
        if (misfit != null) throw new Failure(misfit, 'size-mismatch')
        return tiles
    }

    private void show(Service service, OpenImage image, Tiles tiles, Results results) {
        Window.show(image.data, new MaskServer(image.data.server, tiles, service.base, results.classesOf(tiles)))
        Window.offer(results.classes)
    }

    private String fetched(Service service, Tiles tiles, Results results, OpenImage image, Progress progress) {
        Path file = Files.createTempFile('wsi-segment', '.geojson')
        try {
            progress.say('fetching the outlines', -1)
            service.download("${tiles.at}/objects.geojson", file)
            return added(results, image, file, tiles.job, progress)
        } finally {
            Files.deleteIfExists(file)
        }
    }

    private String added(Results results, OpenImage image, Path file, String origin, Progress progress) {
        def outlines = new Outlines(file, image.um2 ?: 1.0d)
        double least = settings.number('min_area')
        double[] areas = outlines.survey().findAll { it >= least } as double[]
        if (areas.length > Outlines.MANY) {
            double coarser = Outlines.coarser(areas)
            String warning = "${areas.length} annotations make QuPath slow; min_area=${coarser} leaves the ${areas.findAll { it >= coarser }.size()} largest"
            if (asks) {
                Boolean fewer = Window.askCoarser(warning, coarser)
                if (fewer == null) throw new Failure('cancelled; no annotation was added', 'cancelled')
                if (fewer) least = coarser
            } else {
                progress.say("warning: ${warning}", -1)
            }
        }
        def (int count, int there, int unusable) = results.add(outlines, origin, least, progress)
        return "${count} annotations were added" + (there ? ", ${there} were there already" : '') +
            (unusable ? ", ${unusable} features could not be used" : '')
    }

    /** mm² by class name for each parent; the whole slide's are those of the summary, where there is one. */
    private Map measured(Service service, OpenImage image, Tiles tiles, List parents, Progress progress) {
        progress.say('measuring', -1)
        double mpp = settings.number('mpp'), um2 = mpp > 0 ? mpp * mpp : image.um2
        if (um2 == 0) return [:]
        def counted = { Shape shape ->
            Areas.inside(shape, tiles, progress).collectEntries { Integer id, Double pixels -> [tiles.names[id], pixels * um2 / 1e6] }
        }
        if (parents) return parents.collectEntries { [it, counted(it.ROI.shape)] }
        def root = image.data.hierarchy.rootObject
        try {
            Map summary = service.json('GET', "${tiles.at}/summary.json") as Map
            return [(root): summary.classes.collectEntries { [tiles.names[it.id as int], it.area_mm2 as double] }]
        } catch (Failure failure) {
            if (failure.kind != 'no-summary') throw failure
            return [(root): counted(image.whole())]
        }
    }

    /** Run something on the image: in a thread of its own under QuPath's window, or here and now. */
    private void go(Closure<?> work) {
        def run = { ->
            settings = Settings.load(arguments)
            work(new OpenImage(data))
        }
        if (window) Window.background(run)
        else run()
    }

    private void working(String title, Closure<?> work) {
        if (window) Window.progress(title, work)
        else work(new Lines({ String line -> script.println(line) }))
    }

    private void done(String message) {
        if (window) Window.inform(message)
        else script.println("WSI Segment: ${message}")
    }

    private Object given(String name) {
        try {
            return script.getProperty(name)
        } catch (MissingPropertyException ignored) {
            return null
        }
    }
}
