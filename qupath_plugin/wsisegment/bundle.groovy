/*
 * Installs the wsi-segment scripts into QuPath's user folder, adds the menu Extensions > WSI Segment, and has it at every
 * start. Drop this file on QuPath's window, then Run > Run in the script editor.
 */

import qupath.lib.gui.QuPathGUI
import qupath.lib.gui.UserDirectoryManager
import qupath.lib.gui.prefs.PathPrefs

def packed = ['SCRIPTS'].join('').decodeBase64()
def scripts = UserDirectoryManager.getInstance().scriptsDirectoryPath?.toFile()
if (scripts == null) throw new IllegalStateException('QuPath has no user folder yet; choose one under Edit > Preferences > QuPath user directory')
def home = new File(scripts, 'wsi_segment')
new File(home, 'wsisegment').deleteDir()  // parts of an earlier version
new java.util.zip.ZipInputStream(new ByteArrayInputStream(packed)).withCloseable { zip ->
    for (def entry = zip.nextEntry; entry != null; entry = zip.nextEntry) {
        def file = new File(home, entry.name)
        file.parentFile.mkdirs()
        file.bytes = zip.readAllBytes()
    }
}
def menu = new File(home, 'install_menu.groovy')
def startup = PathPrefs.startupScriptProperty()
if (!startup.value) startup.value = menu.path
else if (startup.value != menu.path) println "There is a startup script already, ${startup.value}: add evaluate(new File('${menu.path}')) to it to have the menu at every start."
println "Installed in ${home}."
if (QuPathGUI.getInstance() != null) evaluate(menu)
