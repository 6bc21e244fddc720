package wsisegment.extension;

import groovy.lang.GroovyShell;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

import qupath.lib.gui.QuPathGUI;
import qupath.lib.gui.UserDirectoryManager;
import qupath.lib.gui.extensions.QuPathExtension;

/** Brings the scripts that this jar carries into QuPath's script folder, and adds their menu at every start. */
public class WsiSegmentExtension implements QuPathExtension {
    private static final String SCRIPTS = "/wsi-segment-scripts.zip", FOLDER = "wsi_segment";

    @Override
    public void installExtension(QuPathGUI qupath) {
        Path scripts = UserDirectoryManager.getInstance().getScriptsDirectoryPath();
        if (scripts == null)
            throw new IllegalStateException("QuPath has no user folder; choose one under Edit > Preferences > QuPath user directory");
        Path home = scripts.resolve(FOLDER);
        try {
            unpack(home);
        } catch (IOException error) {
            throw new UncheckedIOException(error.getMessage(), error);
        }
        // QuPath calls this on the thread that draws: it must not wait for the compiler
        Thread menu = new Thread(() -> addMenu(home.resolve("install_menu.groovy").toFile()), getName());
        menu.setDaemon(true);
        menu.start();
    }

    @Override
    public String getName() {
        return "WSI Segment";
    }

    @Override
    public String getDescription() {
        return "Segments whole slides on a wsi-segment server (research use only)";
    }

    private static void addMenu(File script) {
        try {
            new GroovyShell(QuPathGUI.class.getClassLoader()).evaluate(script);
        } catch (IOException error) {
            throw new UncheckedIOException(error.getMessage(), error);
        }
    }

    /** Write what differs; parts of an earlier version go, other files stay. */
    private static void unpack(Path home) throws IOException {
        Set<Path> parts = new HashSet<>();
        try (InputStream packed = WsiSegmentExtension.class.getResourceAsStream(SCRIPTS); ZipInputStream zip = new ZipInputStream(packed)) {
            for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                Path file = home.resolve(entry.getName());
                byte[] content = zip.readAllBytes();
                parts.add(file);
                Files.createDirectories(file.getParent());
                if (!Files.exists(file) || !Arrays.equals(Files.readAllBytes(file), content)) Files.write(file, content);
            }
        }
        for (File old : home.resolve("wsisegment").toFile().listFiles())
            if (!parts.contains(old.toPath())) Files.deleteIfExists(old.toPath());
    }
}
