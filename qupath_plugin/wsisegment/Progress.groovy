package wsisegment

/** How a run tells how far it is, and hears that it should stop. */
interface Progress {
    /** Say what is done now; the share is 0 to 1, or less than 0 where nobody knows. */
    void say(String message, double share)

    boolean isStopRequested()
}
