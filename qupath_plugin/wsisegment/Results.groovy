package wsisegment

import com.google.gson.Gson
import com.google.gson.JsonArray
import com.google.gson.JsonObject

import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.Polygonal
import org.locationtech.jts.geom.prep.PreparedGeometryFactory

import qupath.lib.io.GsonTools
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObject
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep
import qupath.lib.roi.GeometryTools

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
     * Read the objects of a file; nothing is added to the image yet.
     *
     * @param parents what objects are clipped to and become children of; none for the whole slide
     * @param um2 µm² of a pixel, for the least area of what clipping leaves
     * @return objects by parent (the root for the whole slide), how many were there by their ids, and how many features could not be used
     */
    List read(Outlines outlines, String origin, double minArea, double um2, List<PathObject> parents, Progress progress) {
        List<PathObject> made = []
        JsonArray held = new JsonArray()
        Closure<Void> flush = {
            if (progress.isStopRequested()) throw new Failure('cancelled; no annotation was added', 'cancelled')
            if (!held.isEmpty()) made.addAll(PathIO.readObjectsFromGeoJSON(new ByteArrayInputStream(new Gson().toJson(held).getBytes('UTF-8'))))
            progress.say("${made.size()} outlines read", -1)
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
        Map<PathObject, List<PathObject>> wanted = new IdentityHashMap<>()
        if (parents.isEmpty()) wanted[image.data.hierarchy.rootObject] = made
        else parents.each { PathObject parent -> wanted[parent] = made.collectMany { clipped(it, parent, minArea / um2) } }
        Set<UUID> there = image.data.hierarchy.getAllObjects(false).collect { it.ID } as Set
        int known = 0
        Map<PathObject, List<PathObject>> missing = new IdentityHashMap<>()
        wanted.each { PathObject parent, List<PathObject> ones ->
            missing[parent] = ones.findAll { !there.contains(it.ID) }
            known += ones.size() - missing[parent].size()
        }
        return [missing, known, unusable]
    }

    /** Change the image, in one step of Undo: areas by parent (mm² by class name), and objects by parent. */
    void bring(Map<PathObject, Map<String, Double>> areas, Map<PathObject, List<PathObject>> objects) {
        def hierarchy = image.data.hierarchy
        areas.each { PathObject parent, Map<String, Double> mm2 -> measure(parent, mm2) }
        if (objects.values().every { it.isEmpty() }) {
            if (!areas.isEmpty()) hierarchy.fireObjectMeasurementsChangedEvent(this, areas.keySet())
            return
        }
        def all = objects[hierarchy.rootObject]
        if (all != null) {
            hierarchy.addObjects(all)
            return
        }
        objects.each { PathObject parent, List<PathObject> ones -> parent.addChildObjects(ones) }
        hierarchy.fireHierarchyChangedEvent(this)
    }

    /** Note the run in the image's history, as a script of one line that repeats it. */
    void record(File script, List<String> arguments) {
        String list = arguments.collect { quoted(it) }.join(', ')
        String call = "args = [${list}]; evaluate(new File(${quoted(script.path)}))"
        Map<String, String> parameters = arguments.collectEntries { String one -> one.split('=', 2) as List }
        image.data.historyWorkflow.addStep(new DefaultScriptableWorkflowStep('WSI Segment', parameters, call))
    }

    /** Take our objects and measurements out again, in one step of Undo; how many objects there were. */
    int remove() {
        def hierarchy = image.data.hierarchy
        def everything = hierarchy.getAllObjects(true)
        def ours = everything.findAll { it.metadata[MARK] != null }
        def measured = everything.findAll { PathObject one ->
            def names = one.measurementList.measurementNames.findAll { it.startsWith(MEASUREMENT) }
            if (!names.isEmpty()) one.measurementList.withCloseable { list -> list.removeMeasurements(names as String[]) }
            return !names.isEmpty()
        }
        if (!ours.isEmpty()) hierarchy.removeObjects(ours, true)
        else if (!measured.isEmpty()) hierarchy.fireObjectMeasurementsChangedEvent(this, measured)
        return ours.size()
    }

    /**
     * The classified areas of the image as GeoJSON features by the name of their class.
     *
     * Cells and such of other programs are no corrections, nor are classes that QuPath itself ignores (Ignore*, Region*).
     *
     * @param served the server's names of classes by those here, where they differ
     */
    Map<String, List<Map<String, Object>>> corrections(Map<String, String> served) {
        def gson = GsonTools.getInstance()
        Map<String, List<Map<String, Object>>> found = [:]
        image.data.hierarchy.getAllObjects(false).findAll {
            (it.isAnnotation() || (it.isDetection() && it.metadata[MARK] != null)) && it.ROI?.isArea() && it.pathClass != null && it.pathClass != PathClass.getNullClass() && !it.pathClass.name.endsWith('*')
        }.each { PathObject one ->
            Map<String, Object> feature = gson.fromJson(gson.toJson(one), Map)
            String here = one.pathClass.toString(), name = served[here] ?: here
            // get, since Groovy 6 takes .properties of a map for the bean's
            Map<String, Object> described = feature.get('properties').get('classification')
            described.remove('names')  // the parts of a derived class, such as Tumor: Positive
            described.put('name', name)
            found.computeIfAbsent(name) { [] } << feature
        }
        return found
    }

    /** The job that most of our objects came from, or null. */
    String origin() {
        def counts = image.data.hierarchy.getAllObjects(false).collect { it.metadata[MARK] }.findAll { it != null }.countBy { it }
        return counts.max { it.value }?.key
    }

    private void measure(PathObject parent, Map<String, Double> mm2) {
        double all = mm2.values().sum() ?: 0.0d
        parent.measurementList.withCloseable { list ->
            mm2.each { String name, Double area ->
                list.put("${MEASUREMENT}${name} area mm^2".toString(), area as double)
                list.put("${MEASUREMENT}${name} %".toString(), (all > 0 ? 100 * area / all : 0.0d) as double)
            }
        }
    }

    /** The parts of an object inside a parent, each with an id of its own that stays the same. */
    private static List<PathObject> clipped(PathObject one, PathObject parent, double leastPixels) {
        Geometry area = parent.ROI.geometry, whole = one.ROI.geometry
        if (!area.envelopeInternal.intersects(whole.envelopeInternal)) return []
        def prepared = PreparedGeometryFactory.prepare(area)
        if (!prepared.intersects(whole)) return []
        Geometry part = prepared.covers(whole) ? whole : whole.intersection(area)
        return (0..<part.numGeometries).collect { part.getGeometryN(it) }.findAll { it instanceof Polygonal && it.area > 0 && it.area >= leastPixels }
            .withIndex().collect { Geometry piece, int index ->
                def roi = GeometryTools.geometryToROI(piece, parent.ROI.imagePlane)
                def made = one.isDetection() ? PathObjects.createDetectionObject(roi, one.pathClass) : PathObjects.createAnnotationObject(roi, one.pathClass)
                made.ID = UUID.nameUUIDFromBytes("${one.ID} ${parent.ID} ${index}".getBytes('UTF-8'))
                made.locked = one.locked
                made.metadata[MARK] = one.metadata[MARK]
                return made
            }
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
