/*
 * Segments the open slide on a wsi-segment server.
 *
 * In QuPath's window a dialog asks. Without one, and for each image of a project, by the saved settings and by
 * arguments: -a server=http://host:8000 -a model=NAME -a where=slide -a annotations=true (README.md has them all).
 */

def file = { ->
    try { getProperty('qupath.script.file') }
    catch (MissingPropertyException ignored) { throw new IllegalStateException('run this script from its own file, beside the folder wsisegment') }
}()
def home = new File(file as String).parentFile
evaluate(new File(home, 'wsisegment/start.groovy')).call(this, home, 'segment')
