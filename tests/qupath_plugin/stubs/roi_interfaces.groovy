package qupath.lib.roi.interfaces

import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.Polygonal
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.GeometryTools

import java.awt.Shape

class ROI {
    final Geometry geometry
    ROI(Geometry geometry) { this.geometry = geometry }
    boolean isArea() { geometry instanceof Polygonal }
    ImagePlane getImagePlane() { new ImagePlane() }
    Shape getShape() { GeometryTools.geometryToShape(geometry) }
}
