// Compile the classes beside this file, once per session of QuPath's window, and call a method of Plugin: README.md says why.

import javafx.application.Platform
import org.codehaus.groovy.control.CompilerConfiguration
import qupath.fx.dialogs.Dialogs
import qupath.lib.gui.QuPathGUI
import qupath.lib.scripting.QP

return { Script script, File home, String action ->
    def data = QP.getCurrentImageData()  // known to the script's own thread alone
    def gui = QuPathGUI.getInstance()
    def kept = gui == null ? [:] : gui.stage.properties
    def run = {
        def plugin
        synchronized (kept) {
            def stamp = new File(home, 'wsisegment').listFiles().sort().collect { [it.path, it.lastModified()] }
            if (kept['wsi-segment']?.stamp != stamp) {
                if (gui != null && action != 'menu') Dialogs.showInfoNotification('WSI Segment', 'Starting...')
                def configuration = new CompilerConfiguration()
                configuration.sourceEncoding = 'UTF-8'
                def loader = new GroovyClassLoader(script.class.classLoader, configuration)
                loader.addClasspath(home.path)
                kept['wsi-segment'] = [stamp: stamp, plugin: loader.loadClass('wsisegment.Plugin')]
            }
            plugin = kept['wsi-segment'].plugin
        }
        plugin.getDeclaredConstructor(Script, File, Object).newInstance(script, home, data)."${action}"()
    }
    // commands of menus run on the thread that draws: it must not wait for the compiler
    if (gui != null && Platform.isFxApplicationThread()) Thread.startDaemon('WSI Segment', run)
    else run()
    return null
}
