package qupath.fx.utils

import javafx.application.Platform

import java.util.concurrent.Callable
import java.util.concurrent.FutureTask

class FXUtils {
    static <T> T callOnApplicationThread(Callable<T> work) {
        if (Platform.isFxApplicationThread()) return work.call()
        def task = new FutureTask<T>(work)
        Platform.runLater(task)
        return task.get()
    }

    static void runOnApplicationThread(Runnable work) { callOnApplicationThread { work.run() } }
}
