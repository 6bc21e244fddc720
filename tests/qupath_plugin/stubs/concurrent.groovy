package javafx.concurrent

abstract class Task<V> implements Runnable {
    /** All messages of all tasks. */
    static final List<String> messages = Collections.synchronizedList([])
    protected abstract V call()
    protected void updateMessage(String message) { messages << message }
    protected void updateProgress(double done, double all) { }
    void run() { call() }
}
