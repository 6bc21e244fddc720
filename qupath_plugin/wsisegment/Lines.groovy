package wsisegment

import groovy.transform.CompileStatic

/** Progress as printed lines, each once. */
@CompileStatic
class Lines implements Progress {
    private final Closure<?> print
    private String last = ''

    Lines(Closure<?> print) { this.print = print }

    @Override
    void say(String message, double share) {
        if (message == last) return
        last = message
        print.call("WSI Segment: ${message}".toString())
    }

    @Override
    boolean isStopRequested() { Thread.currentThread().isInterrupted() }
}
