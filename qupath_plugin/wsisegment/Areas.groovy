package wsisegment

import groovy.transform.CompileStatic

import java.awt.Color
import java.awt.RenderingHints
import java.awt.Shape
import java.awt.geom.AffineTransform
import java.awt.image.BufferedImage
import java.awt.image.DataBufferByte

/** How much of each class lies inside a shape, counted in the mask's own pixels. */
@CompileStatic
class Areas {
    /** Coarser levels are counted rather than more tiles than this; about 16 x 16 cm at 1 µm. */
    static final int MOST_TILES = 400

    /**
     * Level-0 pixels by class id, of the classes alone.
     *
     * A mask pixel counts with the share of it that lies inside, as outlines are cut there too. Memory bound: one tile.
     *
     * @param shape in level-0 pixels
     */
    static Map<Integer, Double> inside(Shape shape, Tiles tiles, Progress progress) {
        def bounds = shape.bounds2D
        int level = 0
        while (level + 1 < tiles.downsamples.length && spans(bounds, tiles, level).inject(1L) { long n, int[] s -> n * (s[1] - s[0]) } > MOST_TILES) level++
        double downsample = tiles.downsamples[level]
        double[] counts = new double[256]
        int[] columns = spans(bounds, tiles, level)[0], rows = spans(bounds, tiles, level)[1]
        for (int y = rows[0]; y < rows[1]; y++) {
            for (int x = columns[0]; x < columns[1]; x++) {
                if (progress.isStopRequested()) throw new Failure('cancelled', 'cancelled')
                int x0 = x * tiles.side, y0 = y * tiles.side
                int width = Math.min(tiles.side, tiles.widths[level] - x0), height = Math.min(tiles.side, tiles.heights[level] - y0)
                if (!shape.intersects(x0 * downsample, y0 * downsample, width * downsample, height * downsample)) continue
                byte[] within = drawn(shape, x0, y0, width, height, downsample)
                byte[] ids = tiles.ids(level, x, y)
                for (int i = 0; i < ids.length; i++) counts[ids[i] & 0xff] += (within[i] & 0xff) / 255.0d
            }
        }
        Map<Integer, Double> found = [:]
        tiles.names.keySet().findAll { it > 0 }.each { Integer id -> found[id] = counts[id] * downsample * downsample }
        return found
    }

    /** The first column and the one after the last, and the same of rows. */
    private static List<int[]> spans(java.awt.geom.Rectangle2D bounds, Tiles tiles, int level) {
        double step = tiles.side * tiles.downsamples[level]
        int columns = Math.ceil(tiles.widths[level] / (double) tiles.side) as int, rows = Math.ceil(tiles.heights[level] / (double) tiles.side) as int
        return [
            [clipped(Math.floor(bounds.minX / step), columns), clipped(Math.ceil(bounds.maxX / step), columns)] as int[],
            [clipped(Math.floor(bounds.minY / step), rows), clipped(Math.ceil(bounds.maxY / step), rows)] as int[],
        ]
    }

    private static int clipped(double value, int most) {
        return Math.max(0.0d, Math.min(value, most as double)) as int
    }

    /** How much of each pixel lies inside, 0 to 255. */
    private static byte[] drawn(Shape shape, int x0, int y0, int width, int height, double downsample) {
        def image = new BufferedImage(width, height, BufferedImage.TYPE_BYTE_GRAY)
        def graphics = image.createGraphics()
        graphics.color = Color.WHITE
        graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON)
        def place = AffineTransform.getTranslateInstance(-x0, -y0)
        place.scale(1 / downsample, 1 / downsample)
        graphics.fill(place.createTransformedShape(shape))
        graphics.dispose()
        return ((DataBufferByte) image.raster.dataBuffer).data
    }
}
