package qupath.lib.objects

import qupath.lib.objects.classes.PathClass
import qupath.lib.roi.ROI

class MeasurementList implements Closeable {
    final Map<String, Double> values = [:]
    void put(String name, double value) { values[name] = value }
    List<String> getMeasurementNames() { values.keySet() as List }
    void removeMeasurements(String... names) { names.each { values.remove(it) } }
    void close() { }
}

class PathObject {
    UUID ID = UUID.randomUUID()
    String name
    boolean locked
    PathClass pathClass
    ROI ROI
    String kind = 'annotation'
    final List<PathObject> childObjects = []
    final Map<String, String> metadata = [:]
    final MeasurementList measurementList = new MeasurementList()
    boolean isAnnotation() { ROI != null && kind == 'annotation' }
    boolean isDetection() { kind == 'detection' }
    boolean isTMACore() { kind == 'core' }
    boolean isMissing() { false }
    String getDisplayedName() { name ?: pathClass?.name ?: kind }
    void addChildObjects(Collection<PathObject> added) { childObjects.addAll(added) }
}

class PathObjects {
    static PathObject createAnnotationObject(ROI roi, PathClass pathClass) { new PathObject(ROI: roi, pathClass: pathClass) }
    static PathObject createDetectionObject(ROI roi, PathClass pathClass) { new PathObject(ROI: roi, pathClass: pathClass, kind: 'detection') }
}
