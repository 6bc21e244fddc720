package javafx.application

class Platform {
    static boolean isFxApplicationThread() { true }
    static void runLater(Runnable work) { work.run() }
}
