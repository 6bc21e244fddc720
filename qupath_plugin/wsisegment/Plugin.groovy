package wsisegment

import qupath.lib.gui.QuPathGUI
import qupath.lib.images.ImageData

/**
 * What the scripts do. Each makes one of these and calls one method.
 *
 * In QuPath's window this opens the panel, where a run is followed; with arguments the panel begins at once. Without
 * a window, and for each image of a project, it runs where it was called, asks nothing, prints lines, and fails with
 * an exception.
 */
class Plugin {
    private final Script script
    private final File home
    private final ImageData<?> data
    private final boolean window
    private final List<String> arguments

    /**
     * @param script that was started, whose binding has the arguments; null for an entry of the menu
     * @param home folder of the scripts
     * @param data of the image that the script is for, or null
     */
    Plugin(Script script, File home, Object data) {
        this.script = script
        this.home = home
        this.data = (ImageData<?>) data
        arguments = (given('args') ?: []) as List<String>
        def gui = QuPathGUI.getInstance()
        boolean oneImage = ((given('qupath.script.batchSize') ?: 1) as int) == 1
        window = gui != null && oneImage && (data == null || data.is(gui.imageData))
    }

    /** Have the open slide segmented, and bring in what was asked for. */
    void segment() { act { Steps steps -> steps.segment() } { Panel panel, Settings settings -> if (settings != null) panel.segment(settings) } }

    /** Show the overlay of a job that is done. */
    void overlay() {
        if (!window) {
            new OpenImage(data)
            throw new Failure("an overlay needs QuPath's window; take the annotations instead", 'no-window')
        }
        act(null) { Panel panel, Settings settings -> if (settings != null) panel.overlay(settings) else panel.findResults() }
    }

    /** Take the annotations of a job that is done, or of a file. */
    void annotations() {
        act { Steps steps -> steps.annotations() } { Panel panel, Settings settings -> if (settings != null) panel.annotations(settings) else panel.findResults() }
    }

    /** Send the annotations to the server. */
    void corrections() { act { Steps steps -> steps.corrections() } { Panel panel, Settings settings -> panel.corrections(settings) } }

    /** Remove what these scripts brought in. */
    void remove() {
        if (window) Window.failing { Window.tell(new Workbench(home).remove().said, false) }
        else say(Steps.remove(data))
    }

    /** Add the menu Extensions > WSI Segment. */
    void menu() {
        if (QuPathGUI.getInstance() == null) throw new Failure("menus need QuPath's window", 'no-window')
        Window.installMenu(home)
        Workbench.prepare()
    }

    /** @param panel what the panel does; without arguments it gets null, and asks */
    private void act(Closure<Outcome> steps, Closure<?> panel) {
        if (window) {
            Window.failing {
                def settings = arguments ? Settings.load(arguments) : null
                Workbench.open(home) { Panel opened -> panel(opened, settings) }
            }
        } else {
            say(steps(new Steps(home, data, Settings.load(arguments), new Lines({ String line -> script.println(line) }))))
        }
    }

    private void say(Outcome outcome) { script.println("WSI Segment: ${outcome.said}") }

    private Object given(String name) {
        if (script == null) return null
        try {
            return script.getProperty(name)
        } catch (MissingPropertyException ignored) {
            return null
        }
    }
}
