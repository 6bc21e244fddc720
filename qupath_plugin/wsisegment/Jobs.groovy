package wsisegment

import groovy.transform.CompileStatic

import java.nio.file.Files
import java.nio.file.Path

/** Jobs of the service: find the slide, post, wait, cancel, find the results, put corrections beside them. */
@CompileStatic
class Jobs {
    private static final long FASTEST_MILLIS = 300, SLOWEST_MILLIS = 2000
    private static final List<String> UPLOADED = ['.svs', '.tif', '.tiff', '.ndpi', '.scn', '.bif', '.png', '.jpg', '.jpeg']

    private final Service service

    Jobs(Service service) { this.service = service }

    /** Names and cards of the server's models, the default first. */
    List<Map> models() {
        Map answer = service.json('GET', '/v1/models') as Map
        List<Map> found = answer.models as List<Map>
        return found.sort { Map model -> model.name == answer['default'] ? 0 : 1 }
    }

    /** The server's slide of a file here. */
    Map findSlide(String path, PathMap map) {
        String there = map.toServer(path)
        try {
            Map answer = service.json('GET', "/v1/slides?path=${Service.encoded(there)}") as Map
            Map slide = (answer.slides as List<Map>)[0]
            if (slide.error) throw new Failure("${service.base}: ${slide.error}", 'unusable-slide')
            return slide
        } catch (Failure failure) {
            if (failure.kind != 'unknown-slide') throw failure
            throw new Failure("${service.base} knows no slide ${there}${there == path ? '' : ' (here ' + path + ')'}: " +
                'set the path map to its --root, or allow the upload', 'unknown-slide', failure)
        }
    }

    /** The slide that a file here becomes on the server. */
    Map upload(Path file) {
        String name = file.fileName.toString().toLowerCase()
        String suffix = UPLOADED.find { name.endsWith(it) }
        if (suffix == null || !Files.isRegularFile(file))
            throw new Failure("${file}: only slides of one file can be uploaded (${UPLOADED.join(', ')}); set a path map", 'no-upload')
        return service.post("/v1/slides?suffix=${suffix}", file) as Map
    }

    /** A slide by the id that the server gave it, or null where it has it no more. */
    Map slide(String slideId) {
        try {
            return service.json('GET', "/v1/slides/${slideId}") as Map
        } catch (Failure failure) {
            if (failure.kind != 'unknown-slide') throw failure
            return null
        }
    }

    /** Keep corrections beside a job's result; return their version. Others' that came in between are not lost. */
    int correct(String id, Map<String, Object> collection) {
        String path = "/v1/jobs/${Service.encoded(id)}/corrections.geojson"
        List<Object> before = service.tagged(path)
        Map<String, String> condition = before == null ? ['If-None-Match': '*'] : ['If-Match': before[1] as String]
        Map answer = service.json('PUT', path, collection, condition) as Map
        return answer.version as int
    }

    /** Post a job; the same call may be sent again by {@link Service} and makes one job all the same. */
    Map submit(Map<String, Object> body) {
        return service.json('POST', '/v1/jobs', body, ['Idempotency-Key': UUID.randomUUID().toString()]) as Map
    }

    Map job(String id) { service.json('GET', "/v1/jobs/${Service.encoded(id)}") as Map }

    Map cancel(String id) { service.json('DELETE', "/v1/jobs/${Service.encoded(id)}") as Map }

    /** Follow a job until it is done; the job. Cancel dismisses it on the server. */
    Map await(String id, Progress progress) {
        def pace = new Pace()
        service.lost = { String message ->
            pace.restart()  // the pause is no part of how fast the server is
            progress.say(message, -1.0d)
        }
        service.cancelled = { -> progress.isStopRequested() }
        long pause = FASTEST_MILLIS
        while (true) {
            if (progress.isStopRequested()) throw dismissed(id)
            Map job
            try {
                job = this.job(id)
            } catch (Failure failure) {
                if (progress.isStopRequested()) throw dismissed(id)
                throw failure.kind == 'connection-lost' ? new Failure("${failure.message} (job ${id})", failure.kind, failure) : failure
            }
            if (job.status == 'successful') return job
            if (job.status == 'failed') throw new Failure("job ${id} failed: ${job.message}", 'failed')
            if (job.status == 'dismissed') throw new Failure("job ${id} was cancelled on the server", 'dismissed')
            double share = (job.progress as double) / 100
            progress.say(stage(job, pace, share), share)
            sleep(pause)
            pause = Math.min(SLOWEST_MILLIS, pause + 100)
        }
    }

    private static String stage(Map job, Pace pace, double share) {
        if (job.status == 'accepted') return 'waiting for a worker'
        long done = (job.done ?: 0) as long, total = (job.total ?: 0) as long
        if (job.stage == 'segment' && total > 0) return pace.say('segmenting', done, total, System.currentTimeMillis())
        return "${job.stage ?: 'starting'} ${Math.round(100 * share)} %"
    }

    /** Jobs that have results, the newest first: of one slide by its id, or of all. */
    List<Map> finished(int most, String slideId = null) {
        String of = slideId == null ? '' : "&slide=${Service.encoded(slideId)}"
        Map page = service.json('GET', "/v1/jobs?status=successful&page_size=${most}${of}") as Map
        return page.jobs as List<Map>
    }

    /** Whether a job and a slide are of different pixels; null where the server cannot tell. */
    static Boolean differ(Map job, Map slide) {
        if (slide == null || !job.slide_fingerprint || !slide.fingerprint) return null
        return job.slide_fingerprint != slide.fingerprint
    }

    /** What a person tells results apart by: slide, region, model, time. */
    static String label(Map job) {
        List<Double> box = job.region as List<Double>
        String region = box ? "region ${Math.round(box[2] - box[0])} x ${Math.round(box[3] - box[1])} px at ${Math.round(box[0])}, ${Math.round(box[1])}" : 'whole slide'
        String time = ((job.finished ?: job.created) as String ?: '').take(16).replace('T', ' ')
        return "${job.slide_name ?: 'mask'}, ${region}, ${job.model}, ${time} UTC, job ${(job.id as String).take(6)}"
    }

    private Failure dismissed(String id) {
        service.cancelled = { -> true }  // one try: a person waits
        try {
            boolean late = cancel(id).status == 'successful'
            return new Failure(late ? "job ${id} was done before it could be cancelled; Find brings its results" : "cancelled (job ${id})", 'cancelled')
        } catch (Failure failure) {
            return new Failure("cancelled here, but the server could not be told: job ${id} goes on (${failure.message})", 'cancelled', failure)
        } finally {
            service.cancelled = { -> false }
        }
    }
}
