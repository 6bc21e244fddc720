package wsisegment

/** What went wrong, as one line for the person at the screen. */
class Failure extends RuntimeException {
    /** The service's stable name of an error, such as {@code unknown-slide}; or the plugin's own. */
    final String kind

    /** QuPath shows the message of the root cause alone, so that a reason is suppressed and never a cause. */
    Failure(String message, String kind = '', Throwable reason = null) {
        super(message)
        this.kind = kind
        if (reason != null) addSuppressed(reason)
    }
}
