/*
 * Removes the annotations, detections, measurements and the overlay that the other scripts brought in.
 */

def source = this.class.protectionDomain.codeSource?.location?.toString()  // a file where another script evaluates this one
def file = source?.endsWith('.groovy') ? new File(new URI(source)) : binding.variables['qupath.script.file']
if (file == null) throw new IllegalStateException('run this script from its own file, beside the folder wsisegment')
def home = new File(file as String).parentFile
evaluate(new File(home, 'wsisegment/start.groovy')).call(this, home, 'remove')
