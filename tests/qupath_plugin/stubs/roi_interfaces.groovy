package qupath.lib.roi.interfaces

import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.LinearRing
import org.locationtech.jts.geom.Polygon
import org.locationtech.jts.geom.Polygonal
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.GeoJson

import java.awt.Shape
import java.awt.geom.Path2D

class ROI {
    final Geometry geometry
    ROI(Geometry geometry) { this.geometry = geometry }
    boolean isArea() { geometry instanceof Polygonal }
    ImagePlane getImagePlane() { new ImagePlane() }
    Shape getShape() {
        def path = new Path2D.Double(Path2D.WIND_EVEN_ODD)
        def ring = { LinearRing one ->
            one.coordinates.eachWithIndex { Coordinate point, int i -> i ? path.lineTo(point.x, point.y) : path.moveTo(point.x, point.y) }
            path.closePath()
        }
        GeoJson.polygons(geometry).each { Polygon part ->
            ring(part.exteriorRing)
            part.numInteriorRing.times { int i -> ring(part.getInteriorRingN(i)) }
        }
        return path
    }
}
