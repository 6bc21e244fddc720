package qupath.lib.objects

import qupath.lib.measurements.MeasurementList
import qupath.lib.objects.classes.PathClass
import qupath.lib.roi.interfaces.ROI

class PathObject {
    UUID ID = UUID.randomUUID()
    String name
    boolean locked
    PathClass pathClass
    ROI ROI
    String kind = 'annotation'
    final List<PathObject> childObjects = []
    final Map<String, String> metadata = [:]
    final MeasurementList measurementList = new MeasurementList()
    boolean isAnnotation() { ROI != null && kind == 'annotation' }
    boolean isDetection() { kind == 'detection' }
    boolean isTMACore() { kind == 'core' }
    boolean isMissing() { false }
    String getDisplayedName() { name ?: pathClass?.name ?: kind }
    void addChildObjects(Collection<PathObject> added) { childObjects.addAll(added) }
}

class PathObjects {
    static PathObject createAnnotationObject(ROI roi, PathClass pathClass) { new PathObject(ROI: roi, pathClass: pathClass) }
    static PathObject createDetectionObject(ROI roi, PathClass pathClass) { new PathObject(ROI: roi, pathClass: pathClass, kind: 'detection') }
}
