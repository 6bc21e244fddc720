package qupath.lib.images.servers

import qupath.lib.objects.classes.PathClass

import java.awt.image.BufferedImage
import java.awt.image.ColorModel

enum PixelType { UINT8 }

@groovy.transform.EqualsAndHashCode
class PixelCalibration {
    double mpp
    boolean hasPixelSizeMicrons() { mpp > 0 }
    double getPixelWidthMicrons() { mpp }
    double getPixelHeightMicrons() { mpp }
    double getAveragedPixelSizeMicrons() { mpp }
}

interface ImageServer<T> {
    int getWidth()
    int getHeight()
    Collection<URI> getURIs()
    String getServerType()
    String getPath()
    ImageServerMetadata getMetadata()
    ImageServerMetadata getOriginalMetadata()
}

class ImageServerBuilder { static interface ServerBuilder<T> { } }

class ImageServerMetadata {
    static enum ChannelType { CLASSIFICATION }

    static class ImageResolutionLevel {
        double downsample
        int width, height

        static class Builder {
            private final List<ImageResolutionLevel> levels = []

            Builder(int width, int height) { }

            def addLevel(double downsample, int width, int height) {  // not Builder: that is the outer one here
                levels << new ImageResolutionLevel(downsample: downsample, width: width, height: height)
                return this
            }

            List<ImageResolutionLevel> build() { levels }
        }
    }

    static class Builder {
        private final ImageServerMetadata made = new ImageServerMetadata()

        Builder(ImageServerMetadata from) { made.name = from.name }

        Builder width(int value) { made.width = value; this }
        Builder height(int value) { made.height = value; this }
        Builder rgb(boolean value) { made.rgb = value; this }
        Builder pixelType(PixelType value) { made.pixelType = value; this }
        Builder channelType(ChannelType value) { made.channelType = value; this }
        Builder classificationLabels(Map<Integer, PathClass> value) { made.classificationLabels = value; this }
        Builder preferredTileSize(int width, int height) { made.preferredTileWidth = width; made.preferredTileHeight = height; this }
        Builder levels(Collection<ImageResolutionLevel> value) { made.levels = value as List; this }
        Builder name(String value) { made.name = value; this }
        ImageServerMetadata build() { made }
    }

    String name = 'slide'
    PixelCalibration pixelCalibration = new PixelCalibration()
    int width, height, preferredTileWidth, preferredTileHeight
    boolean rgb = true
    PixelType pixelType
    ChannelType channelType
    Map<Integer, PathClass> classificationLabels
    List<ImageResolutionLevel> levels
}

class TileRequest {
    int level, tileX, tileY, tileWidth, tileHeight
}

abstract class AbstractTileableImageServer implements ImageServer<BufferedImage> {
    protected abstract BufferedImage readTile(TileRequest request) throws IOException
    protected abstract ImageServerBuilder.ServerBuilder<BufferedImage> createServerBuilder()
    protected abstract String createID()
    abstract ImageServerMetadata getOriginalMetadata()
    protected ColorModel getDefaultColorModel() throws IOException { null }
    String getPath() { createID() }
    int getWidth() { originalMetadata.width }
    int getHeight() { originalMetadata.height }
    ImageServerMetadata getMetadata() { originalMetadata }
}

/** A slide from a file. */
class SlideServer implements ImageServer<BufferedImage> {
    int width, height
    /** µm per pixel as QuPath has it, and as the file states it where that is another. */
    double mpp
    Double stated
    URI uri
    int slices = 1
    Collection<URI> getURIs() { uri == null ? [] : [uri] }
    String arguments = ''
    String getServerType() { 'slide' }
    String getPath() { "slide: ${uri}${arguments}" }
    ImageServerMetadata getMetadata() { new ImageServerMetadata(pixelCalibration: pixelCalibration) }
    ImageServerMetadata getOriginalMetadata() { new ImageServerMetadata(pixelCalibration: new PixelCalibration(mpp: stated ?: mpp)) }
    PixelCalibration getPixelCalibration() { new PixelCalibration(mpp: mpp) }
    int nZSlices() { slices }
    int nTimepoints() { 1 }
}

class TransformingImageServer<T> extends SlideServer {
    def wrappedServer
}

class RotatedImageServer extends TransformingImageServer<BufferedImage> {
    String getServerType() { 'slide (ROTATE_90)' }
}

class CroppedImageServer extends TransformingImageServer<BufferedImage> {
    String getServerType() { 'Cropped image server' }
}

class AffineTransformImageServer extends TransformingImageServer<BufferedImage> {
    String getServerType() { 'Affine transform server' }
}

class FlippedImageServer extends TransformingImageServer<BufferedImage> { }

/** A wrapper of another family, as in QuPath. */
class NormalizedImageServer extends SlideServer {
    private ImageServer<BufferedImage> inner
    protected ImageServer<BufferedImage> getWrappedServer() { inner }
}
