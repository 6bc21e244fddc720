package wsisegment

import qupath.lib.images.servers.AbstractTileableImageServer
import qupath.lib.images.servers.ImageServer
import qupath.lib.images.servers.ImageServerBuilder
import qupath.lib.images.servers.ImageServerMetadata
import qupath.lib.images.servers.PixelType
import qupath.lib.images.servers.TileRequest
import qupath.lib.objects.classes.PathClass

import java.awt.image.BufferedImage
import java.awt.image.ColorModel
import java.awt.image.DataBuffer
import java.awt.image.DataBufferByte
import java.awt.image.IndexColorModel
import java.awt.image.Raster

/** The mask of a job as an image of QuPath's, tile by tile from the service. */
class MaskServer extends AbstractTileableImageServer {
    static final String TYPE = 'WSI Segment mask'

    private final Tiles tiles
    private final ImageServerMetadata original
    private final ColorModel colors
    private final URI address
    private final Set<Integer> hidden

    /**
     * @param hidden class ids that are not drawn; 0, "not analysed", never is
     */
    MaskServer(ImageServer<BufferedImage> slide, Tiles tiles, String base, Map<Integer, PathClass> classes, Set<Integer> hidden) {
        super()
        this.tiles = tiles
        this.hidden = new TreeSet<Integer>(hidden)
        this.address = URI.create("${base}${tiles.at}/tiles.json")
        this.colors = palette(tiles, hidden)
        // sizes of levels as the mask has them: its last pixels may reach over the slide's edge
        def levels = new ImageServerMetadata.ImageResolutionLevel.Builder(slide.width, slide.height)
        tiles.downsamples.eachWithIndex { double downsample, int i -> levels.addLevel(downsample, tiles.widths[i], tiles.heights[i]) }
        this.original = new ImageServerMetadata.Builder(slide.metadata)
            .width(slide.width).height(slide.height)
            .rgb(false).pixelType(PixelType.UINT8)
            .channelType(ImageServerMetadata.ChannelType.CLASSIFICATION)
            .classificationLabels(classes)
            .preferredTileSize(tiles.side, tiles.side)
            .levels(levels.build())
            .name("${slide.metadata.name} - ${TYPE}")
            .build()
    }

    @Override
    protected BufferedImage readTile(TileRequest request) throws IOException {
        try {
            byte[] ids = tiles.ids(request.level, request.tileX.intdiv(tiles.side) as int, request.tileY.intdiv(tiles.side) as int)
            def raster = Raster.createInterleavedRaster(
                new DataBufferByte(ids, ids.length), request.tileWidth, request.tileHeight, request.tileWidth, 1, [0] as int[], null)
            return new BufferedImage(colors, raster, false, null)
        } catch (Failure failure) {
            throw new IOException(failure.message)
        }
    }

    @Override
    protected ColorModel getDefaultColorModel() { colors }

    @Override
    Collection<URI> getURIs() { [address] }

    @Override
    String getServerType() { TYPE }

    @Override
    ImageServerMetadata getOriginalMetadata() { original }

    @Override
    protected ImageServerBuilder.ServerBuilder<BufferedImage> createServerBuilder() { null }  // it is shown, not saved

    @Override
    protected String createID() { "${TYPE}: ${address} without ${hidden}" }  // tiles are kept by it, with their colours

    private static ColorModel palette(Tiles tiles, Set<Integer> hidden) {
        int[] colors = new int[tiles.names.lastKey() + 1]
        tiles.colors.each { Integer id, List<Integer> color ->
            boolean drawn = id > 0 && !(id in hidden)
            colors[id] = drawn ? 0xff << 24 | color[0] << 16 | color[1] << 8 | color[2] : 0x00ffffff
        }
        return new IndexColorModel(8, colors.length, colors, 0, true, -1, DataBuffer.TYPE_BYTE)
    }
}
