package qupath.lib.gui;

import java.nio.file.Path;

public class UserDirectoryManager {
    public static UserDirectoryManager getInstance() {
        return null;
    }

    public Path getScriptsDirectoryPath() {
        return null;
    }
}
