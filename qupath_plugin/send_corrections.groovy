/*
 * Sends the annotations of this image, as they are now, to the server: they are kept beside the job's result
 * (-a job=ID; without it, of the job that the annotations came from), and `wsi-segment train` can learn from them.
 */

def source = this.class.protectionDomain.codeSource?.location?.toString()  // a file where another script evaluates this one
def file = source?.endsWith('.groovy') ? new File(new URI(source)) : binding.variables['qupath.script.file']
if (file == null) throw new IllegalStateException('run this script from its own file, beside the folder wsisegment')
def home = new File(file as String).parentFile
evaluate(new File(home, 'wsisegment/start.groovy')).call(this, home, 'corrections')
