/*
 * Shows the mask of a finished job, or of a mask.zarr that `wsi-segment serve --results FOLDER` serves, over the slide.
 *
 * Argument: -a job=ID; without it the result is looked up by the slide's size.
 */

def file = { ->
    try { getProperty('qupath.script.file') }
    catch (MissingPropertyException ignored) { throw new IllegalStateException('run this script from its own file, beside the folder wsisegment') }
}()
def home = new File(file as String).parentFile
evaluate(new File(home, 'wsisegment/start.groovy')).call(this, home, 'overlay')
