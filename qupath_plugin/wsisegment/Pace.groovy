package wsisegment

import groovy.transform.CompileStatic

/** How fast windows are done, and how long the rest takes. */
@CompileStatic
class Pace {
    private long since = -1
    private long first = 0

    /** Forget how fast it was. */
    void restart() { since = -1 }

    /**
     * Say how far a job is.
     *
     * @param now milliseconds
     */
    String say(String stage, long done, long total, long now) {
        if (total <= 0) return stage
        if (since < 0 || done < first) {
            since = now
            first = done
        }
        String said = "${stage} ${done}/${total} windows"
        double seconds = (now - since) / 1000
        if (done <= first || seconds <= 0) return said
        double rate = (done - first) / seconds
        return said + " (${rate < 10 ? String.format(Locale.ROOT, '%.1f', rate) : Math.round(rate)} per second), " +
            "${clock(Math.round((total - done) / rate))} left"
    }

    private static String clock(long seconds) {
        return seconds < 3600 ? String.format(Locale.ROOT, '%d:%02d', seconds.intdiv(60), seconds % 60)
            : String.format(Locale.ROOT, '%d h %02d min', seconds.intdiv(3600), seconds.intdiv(60) % 60)
    }
}
