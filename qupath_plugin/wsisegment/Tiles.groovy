package wsisegment

import groovy.transform.CompileStatic

import javax.imageio.ImageIO
import java.awt.image.DataBufferByte

/** The class ids of a result: its level table, and its tiles. */
@CompileStatic
class Tiles {
    final String job
    /** Pixels of a tile's side. */
    final int side
    private static final int HELD = 512
    final int slideWidth, slideHeight
    /** By level: level-0 pixels a mask pixel, and the mask's size. */
    final double[] downsamples
    final int[] widths, heights
    /** Names and colours by class id; 0 is "not analysed". */
    final SortedMap<Integer, String> names = new TreeMap<>()
    final SortedMap<Integer, List<Integer>> colors = new TreeMap<>()
    /** The server's names of classes by those here. */
    final Map<String, String> served = [:]
    private final Service service
    /** Tiles that were fetched: a class that is drawn or not costs no request. */
    private final Map<String, byte[]> held = Collections.synchronizedMap(new LinkedHashMap<String, byte[]>(64, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, byte[]> eldest) { this.size() > Tiles.HELD }
    })

    Tiles(Service service, String job) {
        this.service = service
        this.job = job
        Map table = service.json('GET', "${at}/tiles.json") as Map
        side = table.tile_size as int
        slideWidth = table.slide_width as int
        slideHeight = table.slide_height as int
        List<Map> levels = table.levels as List<Map>
        downsamples = levels.collect { it.downsample as double } as double[]
        widths = levels.collect { it.width as int } as int[]
        heights = levels.collect { it.height as int } as int[]
        (table.classes as List<Map>).each { Map entry ->
            names[entry.id as int] = (entry.name as String).replace(':', ' -')  // a colon would derive a class
            served[names[entry.id as int]] = entry.name as String
            colors[entry.id as int] = (entry.color as List<Number>).collect { it.intValue() }
        }
        // the mask begins on a pixel of the level that was read, at most half a pixel off; more than one is not ours to draw
        List<Double> origin = table.origin as List<Double>
        if (origin.any { Math.abs(it) > downsamples[0] })
            throw new Failure("job ${job}: its mask begins at ${origin}, not at the slide's corner", 'origin')
    }

    /**
     * µm² of a level-0 pixel as the job had it: a pixel size that was given counts, as in the areas of its summary.
     *
     * @param otherwise where the result does not say
     */
    double um2(double otherwise) {
        try {
            Map size = (service.json('GET', "${at}/provenance.json") as Map).slide as Map
            return size?.mpp_x && size?.mpp_y ? (size.mpp_x as double) * (size.mpp_y as double) : otherwise
        } catch (Failure failure) {
            if (!failure.kind.startsWith('no-') && failure.kind != 'http-404') throw failure
            return otherwise
        }
    }

    /** The class that is all the rest, such as "stroma/other"; it is not drawn at first. */
    Set<Integer> getBackground() {
        return names.findAll { Integer id, String name -> id > 0 && name.toLowerCase() ==~ /(.*\W)?(background|other|rest)(\W.*)?/ }.keySet()
    }

    /** The address of the server. */
    String getBase() { service.base }

    /** The path of everything that the job resulted in. */
    String getAt() { "/v1/jobs/${Service.encoded(job)}/results" }

    /** Why the result is not that of an image of this size, or null. */
    String misfit(int width, int height) {
        if (width == slideWidth && height == slideHeight) return null
        return "the result is of a slide of ${slideWidth} x ${slideHeight} px, the open image has ${width} x ${height}"
    }

    /** Class ids of a tile, row by row; edge tiles are as large as what is left. */
    byte[] ids(int level, int x, int y) {
        String name = "${level}/${x}/${y}"
        byte[] found = held.get(name)
        if (found == null) {
            found = fetched(level, x, y)
            held.put(name, found)
        }
        return found
    }

    private byte[] fetched(int level, int x, int y) {
        def image = ImageIO.read(new ByteArrayInputStream(service.bytes("${at}/tiles/${level}/${x}/${y}.png")))
        int width = Math.min(side, widths[level] - x * side), height = Math.min(side, heights[level] - y * side)
        if (image == null || image.width != width || image.height != height)
            throw new Failure("job ${job}: tile ${level}/${x}/${y} is not ${width} x ${height} px", 'tile')
        return ((DataBufferByte) image.raster.dataBuffer).data
    }
}
