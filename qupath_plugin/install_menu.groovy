/*
 * Adds the menu Extensions > WSI Segment. Name this file as startup script in QuPath's preferences to have it always.
 */

def source = this.class.protectionDomain.codeSource?.location?.toString()  // a file where another script evaluates this one
def file = source?.endsWith('.groovy') ? new File(new URI(source)) : binding.variables['qupath.script.file']
if (file == null) throw new IllegalStateException('run this script from its own file, beside the folder wsisegment')
def home = new File(file as String).parentFile
evaluate(new File(home, 'wsisegment/start.groovy')).call(this, home, 'menu')
