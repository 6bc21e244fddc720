package wsisegment

import com.google.gson.Gson
import com.google.gson.JsonParseException

import groovy.transform.CompileStatic

import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.nio.file.Files
import java.nio.file.Path
import java.time.Duration

/**
 * Requests to one server, with every error as a {@link Failure}.
 *
 * A request that finds no connection is sent again: a few times at first, and for as long as the settings' patience
 * once the server has answered, since it may only have been restarted. Requests that change something carry an
 * Idempotency-Key where it matters, so that sending them again is safe.
 */
@CompileStatic
class Service {
    private static final int FIRST_TRIES = 3
    private static final long PAUSE_MILLIS = 500
    private static final Duration SHORT = Duration.ofSeconds(60), LONG = Duration.ofHours(1)

    final String base
    private final String key
    private final long patienceMillis
    private final HttpClient http
    private volatile boolean answered = false

    /** Told when a connection is lost and tried again. */
    Closure<?> lost = { String message -> }
    /** Asked between tries; true gives up. */
    Closure<Boolean> cancelled = { -> false }

    Service(String address, String key, double patienceSeconds) {
        if (!(address ==~ /(?i)https?:\/\/[^\s\/]+.*/))
            throw new Failure("server '${address}': not an address such as http://127.0.0.1:8000")
        this.base = address.replaceAll('/+$', '')
        this.key = key
        this.patienceMillis = Math.round(1000 * patienceSeconds)
        this.http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(10)).build()
    }

    static Service of(Settings settings) {
        return new Service(settings.text('server'), settings.text('key'), settings.number('patience'))
    }

    /** A service that tries once: a person waits for the answer. */
    static Service once(Settings settings) {
        def made = of(settings)
        made.cancelled = { -> true }
        return made
    }

    /** The JSON of an answer, an object or a list; numbers are Doubles. */
    Object json(String method, String path, Object body = null, Map<String, String> headers = [:]) {
        def publisher = body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(new Gson().toJson(body))
        Map<String, String> sent = body == null ? headers : headers + ['Content-Type': 'application/json']
        def answer = send(request(method, path, publisher, sent, SHORT), HttpResponse.BodyHandlers.ofString())
        return parsed(answer.body())
    }

    /** The JSON of an answer and its ETag; null where there is nothing. */
    List<Object> tagged(String path) {
        try {
            def answer = send(request('GET', path, HttpRequest.BodyPublishers.noBody(), [:], SHORT), HttpResponse.BodyHandlers.ofString())
            return [parsed(answer.body()), answer.headers().firstValue('ETag').orElse('')]
        } catch (Failure failure) {
            if (!(failure.kind in ['no-corrections', 'http-404'])) throw failure
            return null
        }
    }

    /** The bytes of a small answer. */
    byte[] bytes(String path) {
        return send(request('GET', path, HttpRequest.BodyPublishers.noBody(), [:], SHORT), HttpResponse.BodyHandlers.ofByteArray()).body()
    }

    /** Write an answer to a file, which appears when it is complete. */
    void download(String path, Path target) {
        Path beside = target.resolveSibling(target.fileName.toString() + '.partial')
        try {
            send(request('GET', path, HttpRequest.BodyPublishers.noBody(), [:], LONG), HttpResponse.BodyHandlers.ofFile(beside))
            Files.move(beside, target, java.nio.file.StandardCopyOption.REPLACE_EXISTING)
        } finally {
            Files.deleteIfExists(beside)
        }
    }

    /** Send a file as the body of a POST; the JSON of the answer. */
    Object post(String path, Path file) {
        def publisher = HttpRequest.BodyPublishers.ofFile(file)
        def sent = request('POST', path, publisher, ['Content-Type': 'application/octet-stream'], LONG)
        return parsed(send(sent, HttpResponse.BodyHandlers.ofString()).body())
    }

    static String encoded(String text) {
        return URLEncoder.encode(text, 'UTF-8')
    }

    private Object parsed(String body) {
        Object found = null
        try {
            found = new Gson().fromJson(body, Object)
        } catch (JsonParseException ignored) {  // told below
        }
        if (found instanceof Map || found instanceof List) return found
        throw new Failure("${base}: the answer is not the service's; is this a wsi-segment server?", 'not-json')
    }

    private HttpRequest request(
            String method, String path, HttpRequest.BodyPublisher body, Map<String, String> headers, Duration limit) {
        URI address
        try {
            address = URI.create(base + path)
        } catch (IllegalArgumentException error) {
            throw new Failure("server '${base}': not an address such as http://127.0.0.1:8000", '', error)
        }
        def made = HttpRequest.newBuilder(address).method(method, body).timeout(limit)
        headers.each { String name, String value -> made.header(name, value) }
        if (key) {
            try {
                made.header('Authorization', "Bearer ${key}".toString())
            } catch (IllegalArgumentException error) {
                throw new Failure('the key has characters that no key has; copy it again', 'unauthorized', error)
            }
        }
        return made.build()
    }

    private <T> HttpResponse<T> send(HttpRequest request, HttpResponse.BodyHandler<T> handler) {
        long since = System.currentTimeMillis()
        for (int tries = 1; ; tries++) {
            String reason
            try {
                HttpResponse<T> answer = http.send(request, handler)
                boolean away = answer.statusCode() in [502, 503, 504] && request.method() == 'GET'  // a proxy before a server that restarts
                if (!away || !goesOn(tries, since)) {
                    answered = answered || answer.statusCode() < 500
                    check(answer)
                    return answer
                }
                reason = "it answered ${answer.statusCode()}"
            } catch (IOException error) {
                reason = error.message ?: error instanceof ConnectException ? 'nothing listens there' : error.class.simpleName
                if (!goesOn(tries, since)) {
                    throw new Failure(answered
                        ? "${base}: the connection was lost (${reason}); jobs go on there, their results can be imported later"
                        : "${base}: no server answers (${reason}); is wsi-segment serve running, and is the address right?",
                        answered ? 'connection-lost' : 'no-server', error)
                }
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt()
                throw new Failure('interrupted', 'cancelled', error)
            }
            lost.call((answered ? "the connection to ${base} was lost (${reason}); trying again" : "${base} does not answer yet; trying again").toString())
            sleep(Math.min(4000L, PAUSE_MILLIS * tries))
        }
    }

    private boolean goesOn(int tries, long since) {
        if (cancelled.call()) return false
        return answered ? System.currentTimeMillis() - since < patienceMillis : tries < FIRST_TRIES
    }

    private void check(HttpResponse<?> answer) {
        int status = answer.statusCode()
        if (status < 400) return
        Map<?, ?> problem = [:]
        try {
            problem = new Gson().fromJson(content(answer.body()), Map) ?: [:]
        } catch (JsonParseException ignored) {  // not the service's own answer; the status has to do
        }
        String kind = (problem.type as String ?: '').replace('urn:wsi-segment:problem:', '')
        String detail = problem.detail as String ?: "answered ${status}; is this a wsi-segment server?"
        if (status == 401) detail = key
            ? 'the key is unknown, was revoked, or has expired; ask for another one, wsi-segment keys create NAME makes it'
            : 'this server asks for a key; give it under Server, wsi-segment keys create NAME makes one there'
        throw new Failure("${base}: ${detail}", kind ?: "http-${status}".toString())
    }

    private static String content(Object body) {
        if (body instanceof Path) return Files.readString((Path) body)
        return body instanceof byte[] ? new String((byte[]) body, 'UTF-8') : body as String
    }
}
