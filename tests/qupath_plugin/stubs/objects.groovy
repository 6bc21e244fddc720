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
    final Map<String, String> metadata = [:]
    final MeasurementList measurementList = new MeasurementList()
    boolean isAnnotation() { ROI != null }
}
