package wsisegment

import groovy.transform.CompileStatic

/** How a run in a thread of its own tells the panel how far it is, and hears its Cancel. */
@CompileStatic
class Working implements Progress {
    private final Panel panel
    private volatile boolean stopped = false

    Working(Panel panel) { this.panel = panel }

    void stop() {
        stopped = true
        panel.say('cancelling', -1.0d)
    }

    @Override
    void say(String message, double share) {
        if (!stopped) panel.say(message, share)
    }

    @Override
    boolean isStopRequested() { stopped }
}
