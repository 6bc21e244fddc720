package javafx.application

class Platform {
    /** Whether scripts are called as commands of a menu are. */
    static boolean drawing = true
    static boolean isFxApplicationThread() { drawing }
    static void runLater(Runnable work) { work.run() }
}
