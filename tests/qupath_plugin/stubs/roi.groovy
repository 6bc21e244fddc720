package qupath.lib.roi

import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.GeometryFactory
import org.locationtech.jts.geom.LinearRing
import org.locationtech.jts.geom.Polygon
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.interfaces.ROI

import java.awt.Shape
import java.awt.geom.Path2D

class GeometryTools {
    static Geometry union(Collection<? extends Geometry> geometries) { geometries.inject { Geometry a, Geometry b -> a.union(b) } }
    static ROI geometryToROI(Geometry geometry, ImagePlane plane) { new ROI(geometry) }
    static Shape geometryToShape(Geometry geometry) {
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

/** No class of QuPath's: GeoJSON as the stand-ins read and write it. */
class GeoJson {
    private static final GeometryFactory FACTORY = new GeometryFactory()

    static Geometry read(Map given) {
        if (given.type == 'Polygon') return polygon(given.coordinates)
        if (given.type == 'MultiPolygon') return FACTORY.createMultiPolygon(given.coordinates.collect { polygon(it) } as Polygon[])
        return FACTORY.createPoint(new Coordinate(given.coordinates[0] as double, given.coordinates[1] as double))
    }

    static Map write(Geometry geometry) {
        def parts = polygons(geometry).collect { Polygon one ->
            ([one.exteriorRing] + (0..<one.numInteriorRing).collect { one.getInteriorRingN(it) })*.coordinates.collect { ring -> ring.collect { [it.x, it.y] } }
        }
        return parts.size() == 1 ? [type: 'Polygon', coordinates: parts[0]] : [type: 'MultiPolygon', coordinates: parts]
    }

    static List<Polygon> polygons(Geometry geometry) { (0..<geometry.numGeometries).collect { geometry.getGeometryN(it) as Polygon } }

    private static Polygon polygon(List rings) {
        def made = rings.collect { ring -> FACTORY.createLinearRing(ring.collect { new Coordinate(it[0] as double, it[1] as double) } as Coordinate[]) }
        return FACTORY.createPolygon(made[0], made.drop(1) as LinearRing[])
    }
}
