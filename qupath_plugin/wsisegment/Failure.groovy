package wsisegment

/** What went wrong, as one line for the person at the screen. */
class Failure extends RuntimeException {
    /** The service's stable name of an error, such as {@code unknown-slide}; or the plugin's own. */
    final String kind

    Failure(String message, String kind = '', Throwable cause = null) {
        super(message, cause)
        this.kind = kind
    }
}
