/*
 * Segments the open slide on a wsi-segment server.
 *
 * In QuPath's window this opens the panel. With arguments, and for each image of a project, it asks nothing:
 * -a server=http://host:8000 -a model=NAME -a where=slide -a annotations=true (README.md has them all). From another
 * script: args = ['model=NAME', 'where=all-annotations']; evaluate(new File('.../wsi_segment.groovy'))
 */

def source = this.class.protectionDomain.codeSource?.location?.toString()  // a file where another script evaluates this one
def file = source?.endsWith('.groovy') ? new File(new URI(source)) : binding.variables['qupath.script.file']
if (file == null) throw new IllegalStateException('run this script from its own file, beside the folder wsisegment')
def home = new File(file as String).parentFile
evaluate(new File(home, 'wsisegment/start.groovy')).call(this, home, 'segment')
