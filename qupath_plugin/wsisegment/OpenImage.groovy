package wsisegment

import qupath.lib.images.ImageData
import qupath.lib.io.GsonTools
import qupath.lib.objects.PathObject
import qupath.lib.roi.GeometryTools

import java.awt.Shape
import java.awt.geom.Rectangle2D
import java.nio.file.Path

/** The image that a script runs on, if it shows a whole slide as its file has it. */
class OpenImage {
    /** Images of QuPath's whose pixels lie elsewhere than in the file; by name, since not every version has each. */
    private static final List<String> MOVED = ['RotatedImageServer', 'CroppedImageServer', 'AffineTransformImageServer', 'FlippedImageServer']
    final ImageData<?> data

    /** Refuses what the service would see in another way. */
    OpenImage(ImageData<?> data) {
        if (data == null) throw new Failure('no image is open; open a slide first', 'no-image')
        def server = data.server
        // several unrelated classes wrap another image, those that only change colours too
        for (def inner = server; inner != null; inner = inner.metaClass.respondsTo(inner, 'getWrappedServer') ? inner.wrappedServer : null) {
            if (inner.class.simpleName in MOVED)
                throw new Failure("the image is rotated, flipped, cropped or transformed (${server.serverType}); open the slide as its file has it", 'transformed')
            if (inner.nZSlices() > 1 || inner.nTimepoints() > 1)
                throw new Failure('the image is a stack or a series; only slides of one plane are segmented', 'stack')
        }
        this.data = data
    }

    int getWidth() { data.server.width }

    int getHeight() { data.server.height }

    /** Which of the file's images this is, as Bio-Formats counts them from 0; 0 where QuPath does not say. */
    int getSeries() {
        def named = data.server.path =~ /--series, (\d+)/
        return named ? named[0][1] as int : 0
    }

    /** Whether the image is a file here. */
    boolean isFile() { data.server.getURIs().find()?.scheme == 'file' }

    /** Where the slide's file lies here; an address where it is none. */
    String getPath() {
        URI uri = data.server.getURIs().find()
        if (uri == null) throw new Failure('the image has no file; save it, or open it from a file', 'no-file')
        return uri.scheme == 'file' ? Path.of(new URI('file', uri.authority, uri.path, null, null)).toString() : uri.toString()
    }

    /** µm per pixel as QuPath has it, which its Image tab can change; 0 where nobody said. */
    double getMpp() {
        def size = data.server.pixelCalibration
        return size.hasPixelSizeMicrons() ? size.averagedPixelSizeMicrons as double : 0.0d
    }

    /** Whether somebody gave QuPath another pixel size than the file states. */
    boolean isResized() { data.server.metadata.pixelCalibration != data.server.originalMetadata.pixelCalibration }

    /** Those of the parents that have not been deleted since. */
    List<PathObject> present(List<PathObject> parents) {
        Set<PathObject> there = Collections.newSetFromMap(new IdentityHashMap<PathObject, Boolean>())
        there.addAll(data.hierarchy.getAllObjects(false))
        there.addAll(data.hierarchy.TMAGrid?.TMACoreList ?: [])
        return parents.findAll { it in there }
    }

    /** µm² of a pixel; 0 where the image states no pixel size. */
    double getUm2() {
        def size = data.server.pixelCalibration
        return size.hasPixelSizeMicrons() ? size.pixelWidthMicrons * size.pixelHeightMicrons : 0.0d
    }

    /**
     * The annotations and TMA cores that results are for; none means the whole slide.
     *
     * @param where as of the settings
     */
    List<PathObject> parents(String where) {
        if (where == 'slide') return []
        def hierarchy = data.hierarchy
        Collection<PathObject> found
        if (where == 'cores') found = hierarchy.TMAGrid?.TMACoreList?.findAll { !it.isMissing() } ?: []
        else if (where == 'all-annotations') found = hierarchy.annotationObjects.findAll { it.metadata[Results.MARK] == null }
        else found = hierarchy.selectionModel.selectedObjects.findAll { it.isAnnotation() || it.isTMACore() }
        found = found.findAll { it.ROI != null && it.ROI.isArea() }
        if (found.isEmpty()) throw new Failure([
            cores            : 'the image has no TMA cores; find them with TMA > TMA dearrayer, or take the whole slide',
            annotations      : 'no annotation with an area is selected; select some, or take the whole slide',
            'all-annotations': 'the image has no annotation with an area; draw some, or take the whole slide',
        ][where], 'nothing-selected')
        return found as List<PathObject>
    }

    /** The union of annotations as the GeoJSON of a request. */
    Map<String, Object> region(List<PathObject> parents) {
        def union = GeometryTools.union(parents.collect { it.ROI.geometry })  // a core is an ellipse of short lines
        def gson = GsonTools.getInstance()
        Map<String, Object> geometry = gson.fromJson(gson.toJson(union), Map)
        if (!(geometry.type in ['Polygon', 'MultiPolygon']))
            throw new Failure("the selected annotations make a ${geometry.type}; select areas only", 'not-polygons')
        return [type: geometry.type, coordinates: geometry.coordinates]
    }

    Shape whole() { new Rectangle2D.Double(0, 0, width, height) }
}
