package wsisegment

import javafx.concurrent.Task

/** Progress in a dialog of QuPath's window; only for there, since a task cannot be made without one. */
class WindowProgress extends Task<Void> implements Progress {
    private final Closure<?> work
    volatile boolean stopped = false
    volatile Throwable failure

    WindowProgress(Closure<?> work) { this.work = work }

    @Override
    protected Void call() {
        try {
            work.call(this)
        } catch (Throwable error) {  // kept for the thread that waits; a task would hide it
            failure = error
        }
        return null
    }

    @Override
    void say(String message, double share) {
        updateMessage(message)
        updateProgress(share, 1.0d)
    }

    @Override
    boolean isStopRequested() { stopped }
}
