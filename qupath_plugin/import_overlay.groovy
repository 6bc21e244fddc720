/*
 * Shows the mask of a finished job, or of a mask.zarr that `wsi-segment serve --results FOLDER` serves, over the slide.
 *
 * Argument: -a job=ID; without it the panel lists the results of this slide.
 */

def source = this.class.protectionDomain.codeSource?.location?.toString()  // a file where another script evaluates this one
def file = source?.endsWith('.groovy') ? new File(new URI(source)) : binding.variables['qupath.script.file']
if (file == null) throw new IllegalStateException('run this script from its own file, beside the folder wsisegment')
def home = new File(file as String).parentFile
evaluate(new File(home, 'wsisegment/start.groovy')).call(this, home, 'overlay')
