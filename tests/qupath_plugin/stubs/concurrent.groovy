package javafx.concurrent

abstract class Task<V> implements Runnable {
    /** All messages of all tasks. */
    static final List<String> messages = Collections.synchronizedList([])
    protected abstract V call()
    protected void updateMessage(String message) { messages << message }
    protected void updateProgress(double done, double all) { }
    void run() { call() }
    // As JavaFX declares them: a method of a subclass by one of these names with another return type does not compile.
    protected void scheduled() { }
    protected void running() { }
    protected void succeeded() { }
    protected void cancelled() { }
    protected void failed() { }
}
