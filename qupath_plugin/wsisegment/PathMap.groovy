package wsisegment

import groovy.transform.CompileStatic

/**
 * Paths as this machine sees them, and the same as the server sees them.
 *
 * Written as {@code CLIENT=SERVER}, several of them with semicolons between:
 * {@code Z:\slides=/data/slides;/Volumes/lab=/data/lab}.
 */
@CompileStatic
class PathMap {
    private final List<List<String>> prefixes

    PathMap(String text) {
        prefixes = text.split(';').collect { it.trim() }.findAll { !it.isEmpty() }.collect { String pair ->
            int at = pair.indexOf('=')
            if (at < 1 || at == pair.length() - 1)
                throw new Failure("path map '${pair}': write CLIENT=SERVER, such as Z:\\slides=/data/slides")
            [slashes(pair.substring(0, at).trim()), slashes(pair.substring(at + 1).trim())] as List<String>
        }.sort { List<String> pair -> -pair[0].length() }
    }

    /** The server's path of a file here; a path that nothing matches stays as it is. */
    String toServer(String path) {
        String wanted = path.replace('\\', '/')
        boolean windows = wanted ==~ /(?:[A-Za-z]:|\/\/).*/  // drive letters and shares know no upper and lower case
        for (pair in prefixes) {
            String client = pair[0]
            boolean same = windows ? wanted.toLowerCase().startsWith(client.toLowerCase()) : wanted.startsWith(client)
            if (same && (wanted.length() == client.length() || wanted.charAt(client.length()) == '/' as char))
                return pair[1] + wanted.substring(client.length())
        }
        return path
    }

    private static String slashes(String prefix) {
        String even = prefix.replace('\\', '/')
        return even.length() > 1 && even.endsWith('/') ? even.substring(0, even.length() - 1) : even
    }
}
