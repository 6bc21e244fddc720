package qupath.lib.objects.hierarchy

import qupath.lib.objects.PathObject

class PathObjectSelectionModel { Set<PathObject> selectedObjects = new LinkedHashSet<>() }

class PathObjectHierarchy {
    final PathObject rootObject = new PathObject()
    final PathObjectSelectionModel selectionModel = new PathObjectSelectionModel()
    final List<PathObject> objects = []
    /** One a change, as listeners see them. */
    final List<String> changes = []
    Collection<PathObject> getAnnotationObjects() { objects.findAll { it.annotation } }
    boolean addObjects(Collection<PathObject> added) { changes << "added ${added.size()}".toString(); objects.addAll(added) }
    void removeObjects(Collection<PathObject> gone, boolean keepChildren) { changes << "removed ${gone.size()}".toString(); objects.removeAll(gone) }
    void fireObjectMeasurementsChangedEvent(Object source, Collection<PathObject> measured) { changes << "measured ${measured.size()}".toString() }
}
