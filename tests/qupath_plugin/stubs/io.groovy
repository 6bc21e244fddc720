package qupath.lib.io

import com.google.gson.Gson
import qupath.lib.objects.PathObject
import qupath.lib.objects.classes.PathClass
import qupath.lib.roi.ROI

class GsonTools { static Gson getInstance() { new Gson() } }

class PathIO {
    static List<PathObject> readObjectsFromGeoJSON(InputStream stream) {
        return new Gson().fromJson(new InputStreamReader(stream, 'UTF-8'), List).collect { Map feature ->
            Map properties = feature.properties
            def made = new PathObject(name: properties.name, locked: properties.isLocked, ROI: new ROI(geometry: feature.geometry))
            if (feature.id != null) made.ID = UUID.fromString(feature.id)
            if (properties.classification != null) made.pathClass = PathClass.getInstance(properties.classification.name)
            properties.measurements.each { name, value -> made.measurementList.put(name, value) }
            made.metadata.putAll(properties.metadata)
            return made
        }
    }
}
