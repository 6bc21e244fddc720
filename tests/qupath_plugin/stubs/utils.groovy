package qupath.fx.utils

class FXUtils {
    static <T> T callOnApplicationThread(java.util.concurrent.Callable<T> work) { work.call() }
    static void runOnApplicationThread(Runnable work) { work.run() }
}
