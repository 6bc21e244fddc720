package wsisegment

import qupath.lib.images.ImageData
import qupath.lib.roi.GeometryTools

import java.awt.Shape
import java.nio.file.Files
import java.nio.file.Path

/**
 * What can be done with an image, from beginning to end; the same with a window and without.
 *
 * Everything is fetched before anything is changed in the image.
 */
class Steps {
    private final File home
    private final OpenImage image
    private final Settings settings
    private final Progress progress
    private final Service service
    private final Jobs jobs
    private final Results results
    /** Asked where there would be very many objects: fewer (true), all (false), none (null). */
    Closure<Boolean> askCoarser = { String warning ->
        progress.say("warning: ${warning}", -1)
        return false
    }

    /** Most jobs that are looked through for results. */
    int listed = 50

    /** Whether what is added to the image can still be seen, or saved. */
    Closure<Boolean> stillOpen = { -> true }

    /**
     * @param home folder of the scripts
     */
    Steps(File home, ImageData<?> data, Settings settings, Progress progress) {
        this.home = home
        this.settings = settings
        this.progress = progress
        image = new OpenImage(data)
        results = new Results(image)
        service = Service.of(settings)
        service.lost = { String message -> progress.say(message, -1) }
        service.cancelled = { -> progress.isStopRequested() }
        jobs = new Jobs(service)
    }

    Results getResults() { results }

    /** Have the slide segmented, and bring in what was asked for. */
    Outcome segment() {
        def parents = image.parents(settings.text('where'))
        progress.say('looking the slide up', -1)
        def slide = slide()
        Map<String, Object> body = [slide: slide.id, width: image.width, height: image.height] + settings.choices()
        // a size that was set in QuPath counts, as it does for everything that QuPath measures
        if (!body.mpp && image.mpp > 0 && (image.resized || !slide.mpp)) body.mpp = image.mpp
        if (parents) body.region = image.region(parents)
        String job = jobs.submit(body).id
        progress.say("job ${job} was accepted", 0)
        def done = jobs.await(job, progress)
        def outcome = brought(sized(job), parents)
        (done.warnings as List<Map>)?.each { outcome.said += "; warning: ${it.message}" }
        // the sizes agree, but images of one file may all be of one size
        if (image.series > 0 && !settings.text('image')) outcome.said += "; warning: QuPath shows image ${image.series} of this file, the server took its slide: see that they are the same, or say which one with image=N"
        results.record(new File(home, 'wsi_segment.groovy'), settings.recorded())
        return outcome
    }

    /** Find the mask of a finished job, for an overlay. */
    Outcome overlay() {
        def tiles = chosen()
        def areas = measured(tiles, [])
        return new Outcome(said: "the overlay of job ${tiles.job} is shown", job: tiles.job, tiles: tiles, rows: rows(areas))
    }

    /** Take the objects of a finished job, or of a file. */
    Outcome annotations() {
        def parents = image.parents(settings.text('where'))
        if (settings.text('file')) {
            Path file = Path.of(settings.text('file'))
            if (!Files.isRegularFile(file)) throw new Failure("${file}: no such file", 'no-file')
            double mpp = settings.number('mpp'), um2 = mpp > 0 ? mpp * mpp : image.um2
            def (objects, said) = read(file, file.fileName.toString(), um2, parents)
            bring([:], objects, "take them from ${file.fileName} again")
            return new Outcome(said: said)
        }
        def tiles = chosen()
        def (objects, said) = fetched(tiles, parents)
        bring([:], objects, "Find brings job ${tiles.job}")
        return new Outcome(said: said, job: tiles.job)
    }

    /** Keep the image's classified areas on the server, beside the result that they correct. */
    Outcome corrections() {
        String job = settings.text('job') ?: results.origin()
        if (!job) throw new Failure('say which result is corrected: job=ID; no annotation here came from one', 'no-job')
        def tiles = fitting(job)
        def found = results.corrections(tiles.served), sent = found.values().flatten()
        if (!sent) throw new Failure('the image has no annotation with a class; nothing was sent', 'nothing')
        int version = jobs.correct(job, [type: 'FeatureCollection', features: sent])
        def said = "${sent.size()} annotations were sent as version ${version} of the corrections of job ${job}"
        def strange = found.keySet() - tiles.served.values()
        if (strange) said += "; warning: the model has no class ${strange.sort().join(', ')}: rename it, or name it in classes.json before training"
        return new Outcome(said: said, job: job)
    }

    /** Results of this slide that the server has, the newest first: job and label. */
    List<Map<String, String>> finished() {
        progress.say('looking for results of this slide', -1)
        def slide = known()
        // those of this slide by name, too: on a busy server the newest jobs are of others
        def newest = (slide == null ? [] : jobs.finished(listed, slide.id as String)) + jobs.finished(listed)
        return newest.unique { it.id }.sort { Map a, Map b -> b.created <=> a.created }
            .findAll { Map job -> Jobs.differ(job, slide) == null ? fits(job.id as String) : !Jobs.differ(job, slide) }
            .collect { Map job -> [job: job.id as String, label: Jobs.label(job)] }
    }

    /** Take out what was brought in. */
    static Outcome remove(ImageData<?> data) {
        int count = new Results(new OpenImage(data)).remove()
        return new Outcome(said: "${count} annotations, the measurements and the overlay were removed; Edit > Undo brings annotations and measurements back")
    }

    private Outcome brought(Tiles tiles, List parents) {
        List<String> said = ["job ${tiles.job} is done"]
        def asked = parents.size()
        parents = image.present(parents)
        if (parents.size() < asked) said << "${asked - parents.size()} of ${asked} annotations or cores were deleted in the meantime, and nothing was added for them"
        if (asked && !parents) return new Outcome(said: said.join('; '), job: tiles.job, tiles: tiles)
        Map areas = measured(tiles, parents)
        if (areas.isEmpty()) said << 'the image states no pixel size, areas were left out'
        def objects = [:]
        if (settings.flag('annotations') || settings.flag('detections')) {
            def (found, line) = fetched(tiles, parents)
            objects = found
            said << line
        }
        results.classesOf(tiles)
        bring(settings.flag('measurements') ? areas : [:], objects, "Find brings job ${tiles.job}")
        return new Outcome(said: said.join('; '), job: tiles.job, tiles: tiles, rows: rows(areas))
    }

    /** Change the image, if anybody still sees it. */
    private void bring(Map areas, Map objects, String remedy) {
        if (!stillOpen()) throw new Failure("the image was closed in the meantime, and nothing was added; open it again, and ${remedy}", 'closed')
        results.bring(areas, objects)
    }

    /** The slide as the server has it: where it sees it, or uploaded. */
    private Map slide() {
        def earlier = uploaded()
        if (earlier != null) return earlier
        try {
            return jobs.findSlide(image.path, new PathMap(settings.text('path_map')))
        } catch (Failure failure) {
            if (failure.kind != 'unknown-slide' || !settings.flag('upload') || !image.isFile()) throw failure
            progress.say('the server does not see the slide; uploading it', -1)
            def made = jobs.upload(Path.of(image.path))
            image.data.setProperty(uploadKey, made.id as String)
            return made
        }
    }

    private String getUploadKey() { "WSI Segment upload to ${settings.text('server')}" }

    private Map uploaded() {
        String earlier = image.data.getProperty(uploadKey)
        return earlier == null ? null : jobs.slide(earlier)
    }

    /** The server's slide, or null where it does not see it, or sees another of that name. */
    private Map known() {
        try {
            def slide = uploaded() ?: jobs.findSlide(image.path, new PathMap(settings.text('path_map')))
            return slide.width == image.width && slide.height == image.height ? slide : null
        } catch (Failure failure) {
            if (!(failure.kind in ['unknown-slide', 'unusable-slide', 'no-file'])) throw failure
            return null
        }
    }

    /** The result that the settings name: the only one of this slide, where they name none. */
    private Tiles chosen() {
        if (settings.text('job')) return fitting(settings.text('job'))
        def found = finished()
        if (found.isEmpty())
            throw new Failure("${service.base} has no result of a slide of ${image.width} x ${image.height} px; run the segmentation, or serve the mask with --results", 'no-result')
        if (found.size() > 1)
            throw new Failure("several results are of this slide; say job=ID, one of ${found*.job.join(', ')}", 'several-results')
        return fitting(found[0].job)
    }

    private boolean fits(String job) {
        try {
            return new Tiles(service, job).misfit(image.width, image.height) == null
        } catch (Failure ignored) {  // its files have been removed since
            return false
        }
    }

    /** The result of a job that is of this slide, and not of another one of its size. */
    private Tiles fitting(String job) {
        def tiles = sized(job), made = jobs.job(job)
        if (Jobs.differ(made, known()))
            throw new Failure("job ${job} is of another slide${made.slide_name ? ', ' + made.slide_name : ''}; the open image is ${image.data.server.metadata.name}", 'other-slide')
        return tiles
    }

    private Tiles sized(String job) {
        def tiles = new Tiles(service, job)
        String misfit = tiles.misfit(image.width, image.height)
        if (misfit != null) throw new Failure(misfit, 'size-mismatch')
        return tiles
    }

    private List fetched(Tiles tiles, List parents) {
        Path file = Files.createTempFile('wsi-segment', '.geojson')
        try {
            progress.say('fetching the outlines', -1)
            service.download("${tiles.at}/objects.geojson", file)
            return read(file, tiles.job, tiles.um2(image.um2), parents)
        } finally {
            Files.deleteIfExists(file)
        }
    }

    /** Objects by parent, and what to say of them. */
    private List read(Path file, String origin, double size, List parents) {
        double um2 = size ?: 1.0d
        def outlines = new Outlines(file, um2)
        outlines.detections = settings.flag('detections')
        double least = settings.number('min_area')
        double[] areas = outlines.survey().findAll { it >= least } as double[]
        if (areas.length > Outlines.MANY && !parents) {
            double coarser = Outlines.coarser(areas)
            String warning = "${areas.length} annotations make QuPath slow; min_area=${coarser} leaves the ${areas.findAll { it >= coarser }.size()} largest"
            Boolean fewer = askCoarser(warning)
            if (fewer == null) throw new Failure('cancelled; no annotation was added', 'cancelled')
            if (fewer) least = coarser
        }
        def (Map objects, int there, int unusable) = results.read(outlines, origin, least, um2, parents, progress)
        String said = "${objects.values()*.size().sum() ?: 0} ${outlines.detections ? 'detections' : 'annotations'} were added" +
            (there ? ", ${there} were there already" : '') + (unusable ? ", ${unusable} features could not be used" : '')
        return [objects, said]
    }

    /** mm² by class name for each parent; the whole slide's are those of the summary, where there is one. */
    private Map measured(Tiles tiles, List parents) {
        progress.say('measuring', -1)
        double um2 = tiles.um2(image.um2)
        if (um2 == 0) return [:]
        def counted = { Shape shape ->
            Areas.inside(shape, tiles, progress).collectEntries { Integer id, Double pixels -> [tiles.names[id], pixels * um2 / 1e6] }
        }
        // not the ROI's shape: outlines are clipped to the short lines that QuPath makes of a curve
        if (parents) return parents.collectEntries { [it, counted(GeometryTools.geometryToShape(it.ROI.geometry))] }
        def root = image.data.hierarchy.rootObject
        try {
            Map summary = service.json('GET', "${tiles.at}/summary.json") as Map
            return [(root): summary.classes.collectEntries { [tiles.names[it.id as int], it.area_mm2 as double] }]
        } catch (Failure failure) {
            if (failure.kind != 'no-summary') throw failure
            return [(root): counted(image.whole())]
        }
    }

    /** Rows of the table of areas; parents that share a name are numbered. */
    private List<Map<String, Object>> rows(Map areas) {
        def root = image.data.hierarchy.rootObject
        Map<String, Integer> named = areas.keySet().countBy { it.displayedName }, met = [:]
        return areas.collectMany { parent, Map<String, Double> mm2 ->
            String title = parent.displayedName
            met[title] = (met[title] ?: 0) + 1
            String where = parent.is(root) ? 'slide' : named[title] > 1 ? "${title} ${met[title]}".toString() : title
            double all = mm2.values().sum() ?: 0.0d
            mm2.collect { String name, Double area -> [where: where, name: name, mm2: area, percent: all > 0 ? 100 * area / all : 0.0d] }
        }
    }
}
