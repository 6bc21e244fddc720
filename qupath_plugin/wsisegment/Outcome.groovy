package wsisegment

import groovy.transform.CompileStatic

/** What an action did, for whoever asked for it. */
@CompileStatic
class Outcome {
    /** One line. */
    String said = ''
    /** The job that it came from; empty for a file. */
    String job = ''
    /** The mask that is drawn, or null. */
    Tiles tiles
    /** Class ids that are not drawn. */
    Set<Integer> hidden = [] as Set<Integer>
    /** Where, class, mm², percent of what was analysed there. */
    List<Map<String, Object>> rows = []
}
