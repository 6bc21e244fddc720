/*
 * Evaluates pieces of Groovy for tests, one a line of standard input as JSON text, each answered by a line of JSON.
 *
 * Pieces know: `console.run(script, arguments, data)`, which runs a script of the plugin as QuPath would and gives
 * what it printed; `console.act(action, arguments, data)`, the same without the script, on classes that were compiled
 * before; `console.image(width, height, mpp, path)`; `console.draw()`, which starts JavaFX; and `kept`, a map that
 * outlives a piece.
 */

import com.google.gson.Gson
import com.google.gson.GsonBuilder

class Console {
    File plugin
    ClassLoader loader, parts
    private boolean drawing = false

    /** What a script printed, line by line. */
    List<String> run(String name, List<String> arguments = [], data = null, int batch = 1) {
        def printed = new StringWriter()
        loader.loadClass('qupath.lib.scripting.QP').now = data
        new GroovyShell(loader, binding(name, arguments, batch, printed)).evaluate(new File(plugin, "${name}.groovy"))
        return printed.toString().readLines()
    }

    /** What an action printed. */
    List<String> act(String action, List<String> arguments = [], data = null, int batch = 1) {
        def printed = new StringWriter()
        def script = new GroovyShell(loader, binding(action, arguments, batch, printed)).parse('')
        parts.loadClass('wsisegment.Plugin').getDeclaredConstructor(Script, File, Object).newInstance(script, plugin, data)."${action}"()
        return printed.toString().readLines()
    }

    private Binding binding(String name, List<String> arguments, int batch, Writer printed) {
        return new Binding([
            args                     : arguments as String[],
            'qupath.script.file'     : new File(plugin, "${name}.groovy").path,
            'qupath.script.batchSize': batch,
            out                      : new PrintWriter(printed, true),
        ])
    }

    /** Start JavaFX, once. */
    void draw() {
        if (drawing) return
        def started = new java.util.concurrent.CountDownLatch(1)
        javafx.application.Platform.startup { started.countDown() }
        started.await()
        javafx.application.Platform.implicitExit = false
        drawing = true
    }

    def image(int width, int height, double mpp, String path) {
        def server = loader.loadClass('qupath.lib.images.servers.SlideServer').getDeclaredConstructor().newInstance()
        server.width = width
        server.height = height
        server.mpp = mpp
        server.uri = new File(path).toURI()
        return loader.loadClass('qupath.lib.images.ImageData').getDeclaredConstructor(Object).newInstance(server)
    }
}

def plugin = new File(args[0])
def parts = new GroovyClassLoader(this.class.classLoader)
parts.addClasspath(args[1])
def console = new Console(plugin: plugin, loader: this.class.classLoader, parts: parts)
def kept = [:]
def out = System.out
System.out = System.err  // answers alone stand on standard output
def answers = new GsonBuilder().serializeNulls().serializeSpecialFloatingPointValues().create()
System.in.eachLine('UTF-8') { line ->
    def answer = [:]
    try {
        answer.value = new GroovyShell(parts, new Binding(console: console, kept: kept)).evaluate(new Gson().fromJson(line, String))
    } catch (Throwable error) {
        def cause = error
        while (cause.cause != null && cause.class.simpleName != 'Failure') cause = cause.cause
        if (cause.class.simpleName == 'Failure') answer = [failure: cause.message, kind: cause.kind]
        else answer.error = new StringWriter().with { error.printStackTrace(new PrintWriter(it)); it.toString() }
    }
    out.println(answers.toJson(answer))
    out.flush()
}
