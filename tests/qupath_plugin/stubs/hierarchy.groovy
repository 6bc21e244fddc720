package qupath.lib.objects.hierarchy

import qupath.lib.objects.PathObject
import qupath.lib.objects.hierarchy.events.PathObjectSelectionModel

class TMAGrid { List<PathObject> TMACoreList }

class PathObjectHierarchy {
    final PathObject rootObject = new PathObject(kind: 'root')
    final PathObjectSelectionModel selectionModel = new PathObjectSelectionModel()
    TMAGrid TMAGrid
    /** One for each change, as listeners see them: each is a step of Undo. */
    final List<String> changes = []
    List<PathObject> getObjects() { rootObject.childObjects }
    Collection<PathObject> getAllObjects(boolean includeRoot) { below(rootObject, includeRoot) }
    Collection<PathObject> getAnnotationObjects() { getAllObjects(false).findAll { it.annotation } }
    boolean addObjects(Collection<? extends PathObject> added) { changes << "added ${added.size()}".toString(); objects.addAll(added) }
    void removeObjects(Collection<? extends PathObject> gone, boolean keepChildren) {
        changes << "removed ${gone.size()}".toString()
        getAllObjects(true).each { it.childObjects.removeAll(gone) }
    }
    void fireObjectMeasurementsChangedEvent(Object source, Collection<? extends PathObject> measured) { changes << "measured ${measured.size()}".toString() }
    void fireHierarchyChangedEvent(Object source) { changes << 'changed' }

    private static List<PathObject> below(PathObject one, boolean self) { (self ? [one] : []) + one.childObjects.collectMany { below(it, true) } }
}
