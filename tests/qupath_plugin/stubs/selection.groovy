package qupath.lib.objects.hierarchy.events

import qupath.lib.objects.PathObject

class PathObjectSelectionModel {
    Set<PathObject> selectedObjects = new LinkedHashSet<>()
    void setSelectedObjects(Collection<? extends PathObject> chosen, PathObject primary) { selectedObjects = new LinkedHashSet<>(chosen) }
}
