package qupath.lib.io

import com.google.gson.Gson
import com.google.gson.GsonBuilder
import com.google.gson.JsonSerializer
import org.locationtech.jts.geom.Geometry
import qupath.lib.objects.PathObject
import qupath.lib.objects.classes.PathClass
import qupath.lib.roi.GeoJson
import qupath.lib.roi.interfaces.ROI

class GsonTools {
    static Gson getInstance() {
        return new GsonBuilder()
            .registerTypeHierarchyAdapter(Geometry, { Geometry one, type, context -> context.serialize(GeoJson.write(one)) } as JsonSerializer)
            .registerTypeHierarchyAdapter(PathObject, { PathObject one, type, context -> context.serialize([
                type: 'Feature', id: one.ID.toString(), geometry: GeoJson.write(one.ROI.geometry),
                properties: [objectType: one.kind, classification: (one.pathClass.of ? [names: [one.pathClass.of, one.pathClass.name]] : [name: one.pathClass.name]) + [color: [200, 0, 0]]],
            ]) } as JsonSerializer)
            .create()
    }
}

class PathIO {
    static List<PathObject> readObjectsFromGeoJSON(InputStream stream) {
        return new Gson().fromJson(new InputStreamReader(stream, 'UTF-8'), List).collect { Map feature ->
            Map properties = feature.get('properties')  // Groovy 6 takes feature.properties for the bean's
            def made = new PathObject(name: properties.name, locked: properties.isLocked, ROI: new ROI(GeoJson.read(feature.geometry)), kind: properties.objectType)
            if (feature.id != null) made.ID = UUID.fromString(feature.id)
            if (properties.classification != null) made.pathClass = PathClass.getInstance(properties.classification.name)
            properties.measurements.each { name, value -> made.measurementList.put(name, value) }
            made.metadata.putAll(properties.metadata)
            return made
        }
    }
}
