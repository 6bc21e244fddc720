package wsisegment

import com.google.gson.JsonArray
import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParseException
import com.google.gson.JsonParser
import com.google.gson.JsonPrimitive
import com.google.gson.stream.JsonReader
import com.google.gson.stream.JsonToken

import groovy.transform.CompileStatic

import java.nio.file.Files
import java.nio.file.Path
import java.util.zip.GZIPInputStream

/**
 * A GeoJSON file, feature by feature, each made such that every version of QuPath reads it.
 *
 * One bad feature would have QuPath drop a whole import. Memory bound: one feature; {@link #survey} keeps eight
 * bytes a feature more.
 */
@CompileStatic
class Outlines {
    /** QuPath becomes slow with more. */
    static final int MANY = 20_000
    private static final List<String> KINDS = ['Polygon', 'MultiPolygon', 'LineString', 'MultiLineString', 'Point', 'MultiPoint']

    private final Path file
    private final double um2

    /**
     * @param file plain or packed with gzip, whatever its name
     * @param um2 µm² of a level-0 pixel; 1 where nobody knows
     */
    Outlines(Path file, double um2) {
        this.file = file
        this.um2 = um2
    }

    /** Make detections, which are lighter and cannot be edited, rather than annotations. */
    boolean detections = false

    /** Areas in µm² of all features that can be used, the largest first. */
    double[] survey() {
        def areas = new ArrayList<Double>()
        each(0.0d) { JsonObject feature -> areas.add(area(feature)) }
        return areas.toSorted { a, b -> Double.compare(b, a) } as double[]
    }

    /** The smallest area that leaves at most so many of the surveyed features. */
    static double coarser(double[] areas, int most = MANY) {
        double last = areas[most]
        int kept = most
        while (kept > 0 && areas[kept - 1] == last) kept--  // equals go together
        return Math.ceil((kept > 0 ? areas[kept - 1] : last + 1) * 100) / 100
    }

    /**
     * Give every usable feature to a closure; holes smaller than the least area are filled.
     *
     * @return how many were left out because they cannot be used
     */
    int each(double minArea, Closure<?> take) {
        int unusable = 0
        boolean any = false
        try (def reader = new JsonReader(new InputStreamReader(unpacked(), 'UTF-8'))) {
            Closure<Void> one = { JsonElement element ->
                any = true
                JsonObject feature = cleaned(element)
                if (feature == null) unusable++
                else if (minArea <= 0 || area(feature) >= minArea) take.call(minArea > 0 ? filled(feature, minArea) : feature)
                return null
            }
            if (reader.peek() == JsonToken.BEGIN_ARRAY) {
                members(reader, one)
            } else {
                JsonObject single = new JsonObject()
                reader.beginObject()
                while (reader.hasNext()) {
                    String name = reader.nextName()
                    if (name == 'features' && reader.peek() == JsonToken.BEGIN_ARRAY) {
                        single = null
                        members(reader, one)
                    } else if (single != null) {
                        single.add(name, JsonParser.parseReader(reader))
                    } else {
                        reader.skipValue()
                    }
                }
                reader.endObject()
                if (single != null && single.has('type') && single.get('type').asString == 'Feature') one.call(single)
                else if (single != null) throw new Failure("${file.fileName}: no GeoJSON features are in it", 'not-geojson')
            }
        } catch (JsonParseException | IllegalStateException | IOException error) {
            throw new Failure("${file.fileName}: not GeoJSON, or cut off (${error.message})", 'not-geojson', error)
        }
        if (!any && Files.size(file) == 0L) throw new Failure("${file.fileName}: the file is empty", 'not-geojson')
        return unusable
    }

    /** Class name of a feature, or null. */
    static String className(JsonObject feature) {
        JsonObject given = feature.getAsJsonObject('properties').getAsJsonObject('classification')
        return given == null ? null : given.get('name').asString
    }

    /** Red, green, blue of a feature's class, or null. */
    static List<Integer> color(JsonObject feature) {
        JsonArray given = feature.getAsJsonObject('properties').getAsJsonObject('classification')?.getAsJsonArray('color')
        return given == null ? null : given.collect { JsonElement value -> value.asInt }
    }

    private InputStream unpacked() {
        def raw = new BufferedInputStream(Files.newInputStream(file))
        raw.mark(2)
        boolean packed = raw.read() == 0x1f && raw.read() == 0x8b
        raw.reset()
        return packed ? new GZIPInputStream(raw, 1 << 16) : raw
    }

    private static void members(JsonReader reader, Closure<?> take) {
        reader.beginArray()
        while (reader.hasNext()) take.call(JsonParser.parseReader(reader))
        reader.endArray()
    }

    /** The feature with nothing in it that stops QuPath, or null. */
    private JsonObject cleaned(JsonElement element) {
        if (!element.isJsonObject()) return null
        JsonObject feature = element.asJsonObject
        JsonObject geometry = object(feature.get('geometry'))
        String kind = geometry == null ? null : text(geometry.get('type'))
        if (!(kind in KINDS) || !geometry.has('coordinates') || !geometry.get('coordinates').isJsonArray()) return null
        JsonArray coordinates = geometry.getAsJsonArray('coordinates')
        if (kind == 'Polygon' && !closed(coordinates)) return null
        if (kind == 'MultiPolygon' && !coordinates.every { JsonElement part -> part.isJsonArray() && closed(part.asJsonArray) }) return null
        JsonObject made = new JsonObject()
        made.addProperty('type', 'Feature')
        String id = text(feature.get('id'))
        if (id ==~ /(?i)[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}/) made.addProperty('id', id)
        made.add('geometry', geometry)
        made.add('properties', properties(object(feature.get('properties')) ?: new JsonObject()))
        return made
    }

    private JsonObject properties(JsonObject given) {
        JsonObject made = new JsonObject()
        made.addProperty('objectType', detections ? 'detection' : text(given.get('objectType')) ?: 'annotation')
        // QuPath draws names: one that repeats the class on each piece hides the slide
        String label = text(given.get('name'))
        if (label && label != text(object(given.get('classification'))?.get('name'))) made.addProperty('name', label)
        made.addProperty('isLocked', given.has('isLocked') && given.get('isLocked').isJsonPrimitive() && given.get('isLocked').asBoolean)
        JsonObject classification = object(given.get('classification'))
        String name = classification == null ? null : text(classification.get('name'))
        if (name) {
            JsonObject kept = new JsonObject()
            kept.addProperty('name', name.replace(':', ' -'))
            JsonElement color = classification.get('color')
            if (color != null && color.isJsonArray() && color.asJsonArray.size() == 3 && color.asJsonArray.every { number(it) != null }) {
                JsonArray whole = new JsonArray()
                color.asJsonArray.each { JsonElement value -> whole.add(Math.max(0, Math.min(255, number(value).intValue()))) }
                kept.add('color', whole)
            }
            made.add('classification', kept)
        }
        JsonObject measurements = new JsonObject()
        object(given.get('measurements'))?.entrySet()?.each { Map.Entry<String, JsonElement> entry ->
            if (number(entry.value) != null) measurements.add(entry.key, entry.value)
        }
        made.add('measurements', measurements)
        JsonObject metadata = new JsonObject()
        object(given.get('metadata'))?.entrySet()?.each { Map.Entry<String, JsonElement> entry ->
            if (text(entry.value) != null) metadata.addProperty(entry.key, text(entry.value))
        }
        made.add('metadata', metadata)
        return made
    }

    /** Close rings that are open; whether all are rings of finite points. */
    private static boolean closed(JsonArray rings) {
        if (rings.isEmpty()) return false
        return rings.every { JsonElement element ->
            if (!element.isJsonArray()) return false
            JsonArray ring = element.asJsonArray
            boolean points = ring.every { JsonElement point ->
                point.isJsonArray() && point.asJsonArray.size() >= 2 && number(point.asJsonArray.get(0)) != null && number(point.asJsonArray.get(1)) != null
            }
            if (!points || ring.size() < 3) return false
            if (ring.get(0) != ring.get(ring.size() - 1)) ring.add(ring.get(0).deepCopy())
            return ring.size() >= 4
        }
    }

    private double area(JsonObject feature) {
        JsonObject geometry = feature.getAsJsonObject('geometry')
        JsonArray coordinates = geometry.getAsJsonArray('coordinates')
        double pixels = 0
        if (geometry.get('type').asString == 'Polygon') pixels = polygon(coordinates)
        if (geometry.get('type').asString == 'MultiPolygon') coordinates.each { JsonElement part -> pixels += polygon(part.asJsonArray) }
        return pixels * um2
    }

    private static double polygon(JsonArray rings) {
        double found = ring(rings.get(0).asJsonArray)
        for (int i = 1; i < rings.size(); i++) found -= ring(rings.get(i).asJsonArray)
        return found
    }

    private static double ring(JsonArray points) {
        double twice = 0
        for (int i = 1; i < points.size(); i++) {
            JsonArray a = points.get(i - 1).asJsonArray, b = points.get(i).asJsonArray
            twice += a.get(0).asDouble * b.get(1).asDouble - b.get(0).asDouble * a.get(1).asDouble
        }
        return Math.abs(twice) / 2
    }

    private JsonObject filled(JsonObject feature, double minArea) {
        JsonObject geometry = feature.getAsJsonObject('geometry')
        if (geometry.get('type').asString != 'Polygon') return feature
        JsonArray kept = new JsonArray()
        geometry.getAsJsonArray('coordinates').eachWithIndex { JsonElement one, int index ->
            if (index == 0 || ring(one.asJsonArray) * um2 >= minArea) kept.add(one)
        }
        geometry.add('coordinates', kept)
        return feature
    }

    private static JsonObject object(JsonElement element) {
        return element != null && element.isJsonObject() ? element.asJsonObject : null
    }

    private static String text(JsonElement element) {
        return element != null && element.isJsonPrimitive() ? element.asString : null
    }

    private static Double number(JsonElement element) {
        if (element == null || !element.isJsonPrimitive() || !((JsonPrimitive) element).isNumber()) return null
        double value = element.asDouble
        return Double.isFinite(value) ? value : null
    }
}
