// Compiles the classes beside this file for a script, and has one of the Plugin's methods run: README.md says why.

import javafx.application.Platform
import org.codehaus.groovy.control.CompilerConfiguration
import qupath.lib.gui.QuPathGUI
import qupath.lib.scripting.QP

return { Script script, File home, String action ->
    def data = QP.getCurrentImageData()  // known to the script's own thread alone
    def run = {
        def configuration = new CompilerConfiguration()
        configuration.sourceEncoding = 'UTF-8'
        def loader = new GroovyClassLoader(script.class.classLoader, configuration)
        loader.addClasspath(home.path)
        def plugin = loader.loadClass('wsisegment.Plugin').getDeclaredConstructor(Script, File, Object).newInstance(script, home, data)
        plugin."${action}"()
    }
    // commands of menus run on the thread that draws: it must not wait for the compiler
    if (QuPathGUI.getInstance() != null && Platform.isFxApplicationThread()) Thread.startDaemon('WSI Segment', run)
    else run()
    return null
}
