/*
 * Adds the menu Extensions > WSI Segment. Name this file as startup script in QuPath's preferences to have it always.
 */

def file = { ->
    try { getProperty('qupath.script.file') }
    catch (MissingPropertyException ignored) { throw new IllegalStateException('run this script from its own file, beside the folder wsisegment') }
}()
def home = new File(file as String).parentFile
evaluate(new File(home, 'wsisegment/start.groovy')).call(this, home, 'menu')
