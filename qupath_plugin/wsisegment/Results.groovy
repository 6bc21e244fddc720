package wsisegment

import com.google.gson.Gson
import com.google.gson.JsonArray
import com.google.gson.JsonObject

import qupath.lib.io.PathIO
import qupath.lib.objects.PathObject
import qupath.lib.objects.classes.PathClass
import qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep

import java.nio.file.Path

/** What a run leaves in an image: annotations, measurements, a line of its history; and how they go again. */
class Results {
    /** Metadata of our annotations: the job, or the file, that they come from. */
    static final String MARK = 'WSI Segment'
    static final String MEASUREMENT = 'WSI Segment: '
    private static final int TOGETHER = 500

    private final OpenImage image
    /** Classes that were met, to be offered in QuPath's list. */
    final Set<PathClass> classes = new LinkedHashSet<>()

    Results(OpenImage image) { this.image = image }

    /** The classes of a mask by id; 0 is transparent. */
    Map<Integer, PathClass> classesOf(Tiles tiles) {
        Map<Integer, PathClass> found = new TreeMap<>()
        tiles.names.each { Integer id, String name ->
            found[id] = id == 0 ? PathClass.getNullClass() : colored(name, tiles.colors[id])
        }
        return found
    }

    /**
     * Add the annotations of a file: all of them in one step that can be undone, or none.
     *
     * Those that are there already, by their ids, stay as they are.
     *
     * @return how many were added, how many were there, and how many features could not be used
     */
    List<Integer> add(Outlines outlines, String origin, double minArea, Progress progress) {
        List<PathObject> made = []
        JsonArray held = new JsonArray()
        Closure<Void> flush = {
            if (progress.isStopRequested()) throw new Failure('cancelled; no annotation was added', 'cancelled')
            if (!held.isEmpty()) made.addAll(PathIO.readObjectsFromGeoJSON(new ByteArrayInputStream(new Gson().toJson(held).getBytes('UTF-8'))))
            progress.say("${made.size()} annotations read", -1)
            held = new JsonArray()
            return null
        }
        int unusable = outlines.each(minArea) { JsonObject feature ->
            String name = Outlines.className(feature)
            if (name != null) colored(name, Outlines.color(feature))
            feature.getAsJsonObject('properties').getAsJsonObject('metadata').addProperty(MARK, origin)
            held.add(feature)
            if (held.size() == TOGETHER) flush()
        }
        flush()
        def hierarchy = image.data.hierarchy
        Set<UUID> there = hierarchy.annotationObjects.collect { it.ID } as Set
        def missing = made.findAll { !there.contains(it.ID) }
        if (!missing.isEmpty()) hierarchy.addObjects(missing)
        return [missing.size(), made.size() - missing.size(), unusable]
    }

    /** Put the area of each class on an object, in mm² and as percent of what was analysed. */
    void measure(PathObject parent, Map<String, Double> mm2) {
        double all = mm2.values().sum() ?: 0.0d
        parent.measurementList.withCloseable { list ->
            mm2.each { String name, Double area ->
                list.put("${MEASUREMENT}${name} area mm^2".toString(), area as double)
                list.put("${MEASUREMENT}${name} %".toString(), (all > 0 ? 100 * area / all : 0.0d) as double)
            }
        }
        image.data.hierarchy.fireObjectMeasurementsChangedEvent(this, [parent])
    }

    /** Note the run in the image's history, as a script that repeats it. */
    void record(File script, List<String> arguments) {
        String list = arguments.collect { quoted(it) }.join(', ')
        String call = "binding.setVariable('args', [${list}] as String[])\n" +
            "binding.setVariable('qupath.script.file', ${quoted(script.path)})\n" +
            "evaluate(new File(${quoted(script.path)}))"
        Map<String, String> parameters = arguments.collectEntries { String one -> one.split('=', 2) as List }
        image.data.historyWorkflow.addStep(new DefaultScriptableWorkflowStep('WSI Segment', parameters, call))
    }

    /** Take our annotations and measurements out again; how many annotations there were. */
    int remove() {
        def hierarchy = image.data.hierarchy
        def ours = hierarchy.annotationObjects.findAll { it.metadata[MARK] != null }
        if (!ours.isEmpty()) hierarchy.removeObjects(ours, true)
        def measured = ([hierarchy.rootObject] + hierarchy.annotationObjects).findAll { PathObject one ->
            def names = one.measurementList.measurementNames.findAll { it.startsWith(MEASUREMENT) }
            if (!names.isEmpty()) one.measurementList.removeMeasurements(names as String[])
            return !names.isEmpty()
        }
        if (!measured.isEmpty()) hierarchy.fireObjectMeasurementsChangedEvent(this, measured)
        return ours.size()
    }

    /** A class that has its colour even where it was known with another. */
    private PathClass colored(String name, List<Integer> color) {
        PathClass found = PathClass.getInstance(name)
        if (color != null) found.setColor(color[0] as int, color[1] as int, color[2] as int)
        classes.add(found)
        return found
    }

    private static String quoted(String text) {
        return "'" + text.replace('\\', '\\\\').replace("'", "\\'") + "'"
    }
}
