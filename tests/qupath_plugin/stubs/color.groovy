package qupath.lib.color

import qupath.lib.objects.classes.PathClass

import java.awt.image.DataBuffer
import java.awt.image.IndexColorModel

class ColorModelFactory {
    static IndexColorModel getIndexedClassificationColorModel(Map<Integer, PathClass> classes) {
        int[] colors = new int[classes.keySet().max() + 1]
        classes.each { int id, PathClass one -> colors[id] = one == PathClass.nullClass ? 0xffffff : (0xff000000 as int) | one.color }
        return new IndexColorModel(8, colors.length, colors, 0, true, -1, DataBuffer.TYPE_BYTE)
    }
}
