/*
 * Takes the annotations of a finished job (-a job=ID), or of a GeoJSON file, packed or not (-a file=PATH).
 */

def file = { ->
    try { getProperty('qupath.script.file') }
    catch (MissingPropertyException ignored) { throw new IllegalStateException('run this script from its own file, beside the folder wsisegment') }
}()
def home = new File(file as String).parentFile
evaluate(new File(home, 'wsisegment/start.groovy')).call(this, home, 'annotations')
