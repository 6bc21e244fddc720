/*
 * Removes the annotations, measurements and the overlay that the other scripts brought in.
 */

def file = { ->
    try { getProperty('qupath.script.file') }
    catch (MissingPropertyException ignored) { throw new IllegalStateException('run this script from its own file, beside the folder wsisegment') }
}()
def home = new File(file as String).parentFile
evaluate(new File(home, 'wsisegment/start.groovy')).call(this, home, 'remove')
