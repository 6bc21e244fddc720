package wsisegment

/** What the panel asks of the program around it. Calls with a Progress come from a thread of the panel's. */
interface Desk {
    /** The open image: id (of this opening of it), name, mpp (0 where unknown), annotations, cores (in all), selected (of both); null where none is open. */
    Map<String, Object> image()

    void selectAnnotations()

    void selectCores()

    /** Run a job and bring its results in. */
    Outcome segment(Settings settings, Progress progress)

    /** Results of this slide that the server has: job and label, the newest first. */
    List<Map<String, String>> finished(Settings settings, Progress progress)

    Outcome overlay(Settings settings, Progress progress)

    Outcome annotations(Settings settings, Progress progress)

    Outcome corrections(Settings settings, Progress progress)

    Outcome remove()

    /** What came out for the open image since it was opened, or null. */
    Outcome getShown()

    /** Draw the overlay without some of the class ids. */
    void hide(Set<Integer> ids)

    double getOpacity()

    void setOpacity(double opacity)

    /** A GeoJSON file that the user chooses, or null. */
    File chooseFile()

    /** Fewer objects (true), all (false), none (null). */
    Boolean askCoarser(String warning)

    /** Show a notification, which outlives the panel's own line. */
    void tell(String message, boolean failed)

    /** Show an error that nobody foresaw, and keep where it happened in the program's log. */
    void tell(Throwable error)
}
