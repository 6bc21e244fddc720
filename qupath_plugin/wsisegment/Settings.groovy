package wsisegment

import com.google.gson.GsonBuilder
import com.google.gson.JsonParseException

import groovy.transform.CompileStatic

import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.attribute.PosixFilePermissions

/**
 * What a user can choose: defaults, then the saved file, then the environment, then the arguments of a script.
 *
 * Arguments are {@code name=value}. The file is the user's own, readable by nobody else where the system can
 * say so, since the key stands in it.
 */
@CompileStatic
class Settings {
    /** Names, defaults, and what they are; README.md says the same for users. */
    static final Map<String, Object> DEFAULTS = [
        server       : 'http://127.0.0.1:8000',
        key          : '',
        path_map     : '',
        upload       : false,
        model        : '',
        image        : '',
        mpp          : 0.0d,
        window       : 0.0d,
        overlap      : -1.0d,
        precision    : '',
        tissue       : '',
        region       : '',
        ome_zarr     : '',
        probabilities: false,
        apply_icc    : false,
        strict       : false,
        where        : 'slide',
        overlay      : true,
        annotations  : false,
        detections   : false,
        measurements : true,
        min_area     : 0.0d,
        patience     : 300.0d,
        job          : '',
        file         : '',
    ] as Map<String, Object>

    private static final Map<String, List<String>> CHOICES = [
        where: ['slide', 'annotations', 'all-annotations', 'cores'], tissue: ['', 'otsu', 'none'], ome_zarr: ['', '0.5', '0.4'],
    ]
    // of one slide, and wrong for the next
    private static final List<String> NOT_SAVED = ['job', 'file', 'mpp', 'image', 'region']
    private static final List<String> NOT_RECORDED = ['key', 'job', 'file']

    private final Map<String, Object> values = new LinkedHashMap<String, Object>(DEFAULTS)

    /** The settings of a run. */
    static Settings load(List<String> arguments, Map<String, String> environment = System.getenv(), Path file = savedFile()) {
        def made = new Settings()
        made.read(file)
        [server: 'WSI_SEGMENT_SERVER', key: 'WSI_SEGMENT_KEY'].each { String name, String variable ->
            if (environment[variable]) made.set(name, environment[variable])
        }
        arguments.each { String argument ->
            int at = argument.indexOf('=')
            if (at < 1) throw new Failure("argument '${argument}': write name=value; names are ${DEFAULTS.keySet().join(', ')}")
            made.set(argument.substring(0, at).trim(), argument.substring(at + 1).trim())
        }
        return made
    }

    /** Where choices are kept between runs; the environment variable WSI_SEGMENT_QUPATH names another file. */
    static Path savedFile() {
        String other = System.getenv('WSI_SEGMENT_QUPATH')
        return other ? Path.of(other) : Path.of(System.getProperty('user.home'), '.wsi-segment', 'qupath.json')
    }

    String text(String name) { values[name] as String }

    boolean flag(String name) { values[name] as boolean }

    double number(String name) { values[name] as double }

    /** Choose one thing; a text is read as what the setting is. */
    void set(String name, Object value) {
        if (!DEFAULTS.containsKey(name))
            throw new Failure("there is no setting '${name}'; settings are ${DEFAULTS.keySet().join(', ')}")
        Object like = DEFAULTS[name]
        String given = value == null ? '' : value.toString()
        if (like instanceof Boolean) {
            if (!(given.toLowerCase() in ['true', 'false'])) throw new Failure("${name}=${given}: write true or false")
            values[name] = given.toLowerCase() == 'true'
        } else if (like instanceof Double) {
            if (!given.isDouble() || !Double.isFinite(given.toDouble())) throw new Failure("${name}=${given}: write a number")
            values[name] = given.toDouble()
        } else {
            if (CHOICES.containsKey(name) && !(given in CHOICES[name]))
                throw new Failure("${name}=${given}: write ${CHOICES[name].findAll { it }.join(', ').replaceAll(/, ([^,]+)$/, ' or $1')}")
            values[name] = given
        }
    }

    /** Keep the choices for the next run. */
    void save(Path file = savedFile()) {
        Files.createDirectories(file.parent)
        Path beside = file.resolveSibling(file.fileName.toString() + '.partial')
        Files.deleteIfExists(beside)
        if (file.fileSystem.supportedFileAttributeViews().contains('posix'))
            Files.createFile(beside, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString('rw-------')))
        def kept = values.findAll { String name, Object value -> !(name in NOT_SAVED) }
        Files.writeString(beside, new GsonBuilder().setPrettyPrinting().create().toJson(kept))
        Files.move(beside, file, java.nio.file.StandardCopyOption.REPLACE_EXISTING)
    }

    /** Arguments that repeat this run; never the key. */
    List<String> recorded() {
        return values.findAll { String name, Object value -> !(name in NOT_RECORDED) && value != DEFAULTS[name] }
            .collect { String name, Object value -> "${name}=${value}".toString() }
    }

    /** What goes into the request of a job; what is not chosen is left to the server. */
    Map<String, Object> choices() {
        Map<String, Object> wanted = [:]
        ['model', 'tissue', 'precision', 'ome_zarr'].each { String name -> if (text(name)) wanted[name] = text(name) }
        ['mpp', 'window'].each { String name -> if (number(name) > 0) wanted[name] = number(name) }
        ['probabilities', 'strict', 'apply_icc'].each { String name -> if (flag(name)) wanted[name] = true }
        if (number('overlap') >= 0) wanted.overlap = number('overlap')
        if (text('image')) wanted.image = text('image').isInteger() ? text('image').toInteger() : text('image')
        if (text('region')) wanted.region = box(text('region'))
        return wanted
    }

    /** Four numbers, x0,y0,x1,y1 in level-0 pixels. */
    private static List<Double> box(String given) {
        List<String> parts = given.split(',').collect { String part -> part.trim() }
        if (parts.size() != 4 || !parts.every { String part -> part.isDouble() })
            throw new Failure("region=${given}: write x0,y0,x1,y1 in level-0 pixels")
        return parts.collect { String part -> part.toDouble() }
    }

    private void read(Path file) {
        if (!Files.exists(file)) return
        try {
            Map<String, Object> kept = new GsonBuilder().create().fromJson(Files.readString(file), Map) as Map<String, Object>
            kept.each { String name, Object value -> if (DEFAULTS.containsKey(name)) set(name, value) }
        } catch (IOException | JsonParseException | ClassCastException error) {
            throw new Failure("${file}: not settings of this plugin (${error.message}); remove the file", '', error)
        }
    }
}
