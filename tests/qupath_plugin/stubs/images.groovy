package qupath.lib.images

import qupath.lib.objects.hierarchy.PathObjectHierarchy
import qupath.lib.plugins.workflow.Workflow

class ImageData<T> {
    def server
    PathObjectHierarchy hierarchy = new PathObjectHierarchy()
    Workflow historyWorkflow = new Workflow()
    private final Map<String, Object> kept = [:]

    ImageData(server) { this.server = server }

    Object getProperty(String key) { key in ['server', 'hierarchy', 'historyWorkflow'] ? this.@"$key" : kept[key] }

    void setProperty(String key, Object value) { key == 'server' ? (server = value) : kept.put(key, value) }
}
