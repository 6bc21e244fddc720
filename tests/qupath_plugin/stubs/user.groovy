package qupath.lib.gui

import java.nio.file.Path

class UserDirectoryManager {
    static Path scripts
    static UserDirectoryManager getInstance() { new UserDirectoryManager() }
    Path getScriptsDirectoryPath() { scripts }
}
