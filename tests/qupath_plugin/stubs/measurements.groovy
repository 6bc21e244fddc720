package qupath.lib.measurements

class MeasurementList implements Closeable {
    final Map<String, Double> values = [:]
    void put(String name, double value) { values[name] = value }
    List<String> getMeasurementNames() { values.keySet() as List }
    void removeMeasurements(String... names) { names.each { values.remove(it) } }
    void close() { }
}
