package qupath.lib.objects.classes

class PathClass {
    private static final Map<String, PathClass> KNOWN = [:]
    private static final PathClass NONE = new PathClass()
    String name
    /** The class that this one is derived from. */
    String of
    Integer color
    static PathClass getNullClass() { NONE }
    static PathClass getInstance(String name) { getInstance(name, null) }
    static PathClass getInstance(String name, Integer color) { KNOWN.computeIfAbsent(name) { new PathClass(name: name, color: color) } }
    String toString() { of ? "$of: $name" : name }
    void setColor(int red, int green, int blue) { color = (red << 16) | (green << 8) | blue }
}
