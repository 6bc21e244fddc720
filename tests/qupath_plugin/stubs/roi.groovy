package qupath.lib.roi

import java.awt.Shape
import java.awt.geom.Path2D

class ROI {
    /** GeoJSON. */
    Map geometry
    boolean isArea() { geometry.type in ['Polygon', 'MultiPolygon'] }
    Shape getShape() {
        def path = new Path2D.Double(Path2D.WIND_EVEN_ODD)
        (geometry.type == 'Polygon' ? [geometry.coordinates] : geometry.coordinates).each { part -> part.each { ring ->
            ring.eachWithIndex { point, int i -> i ? path.lineTo(point[0] as double, point[1] as double) : path.moveTo(point[0] as double, point[1] as double) }
            path.closePath()
        } }
        return path
    }
}

class GeometryTools {
    /** Of shapes that do not meet. */
    static Map union(Collection<Map> geometries) {
        return geometries.size() == 1 ? geometries[0] : [type: 'MultiPolygon', coordinates: geometries.collect { it.coordinates }]
    }
}
