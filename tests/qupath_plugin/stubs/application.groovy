package javafx.application

class Platform {
    static boolean isFxApplicationThread() { true }  // as commands of a menu are called
    static void runLater(Runnable work) { work.run() }
}
