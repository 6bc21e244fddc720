"""The job table: queue, leases, fences and events, on both databases."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import update

from wsi_segment.errors import InputError
from wsi_segment.service.jobs import database as database_module
from wsi_segment.service.jobs.database import SQLITE_FILE, Database
from wsi_segment.service.jobs.events import read_events
from wsi_segment.service.jobs.housekeeping import Housekeeping
from wsi_segment.service.jobs.job_table import Job, Jobs, NewJob
from wsi_segment.service.jobs.leases import LEASE_SECONDS, LeaseWatch, free_dead_owners, owner_name
from wsi_segment.service.jobs.queue import LostJobError, Queue, free_owners
from wsi_segment.service.jobs.tables import VERSION, events, metadata
from wsi_segment.service.jobs.tables import jobs as table


def wanted(count: int, priority: int = 0) -> list[NewJob]:
    return [NewJob("0" * 24, {"index": index}, priority) for index in range(count)]


def accept(database: Database, count: int = 1, priority: int = 0, batch: str | None = None) -> list[str]:
    return [job.id for job in Jobs(database).accept(wanted(count, priority), batch).jobs]


def claimed(queue: Queue) -> Job:
    job = queue.claim()
    assert job is not None
    return job


def state(database: Database, job_id: str) -> Job:
    job = Jobs(database).get(job_id)
    assert job is not None
    return job


def kinds(database: Database, job_id: str) -> list[str]:
    return [event.kind for event in read_events(database, 0, job=job_id)]


def test_tables_after_all_steps_are_those_that_the_code_names(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == VERSION == database.version()


def test_a_job_goes_from_accepted_to_successful_and_every_step_is_an_event(database: Database) -> None:
    (job_id,) = accept(database)
    queue = Queue(database, "host/1/a")
    job = claimed(queue)
    assert (job.id, job.status, job.fence) == (job_id, "running", 1)
    assert queue.claim() is None
    queue.progress(job, "segment", 3, 10)
    queue.end(job, "successful")
    ended = state(database, job_id)
    assert (ended.status, ended.done, ended.total, ended.owner, ended.lease) == ("successful", 3, 10, None, None)
    assert ended.finished is not None
    assert kinds(database, job_id) == ["accepted", "running", "progress", "successful"]


def test_priority_goes_first_then_turns_so_that_a_large_batch_does_not_hold_up_the_rest(database: Database) -> None:
    large = accept(database, 5, batch="large")
    queue = Queue(database, "host/1/a")
    assert claimed(queue).id == large[0]
    small = accept(database, 2, batch="small")
    single = accept(database)
    urgent = accept(database, priority=5)
    order = [claimed(queue).id for _ in range(8)]
    assert order == [urgent[0], large[1], small[0], single[0], large[2], small[1], large[3], large[4]]


def test_no_two_workers_get_the_same_job(database: Database) -> None:
    ids = accept(database, 40)

    def work(number: int) -> list[str]:
        queue, got = Queue(database, f"host/{number}/a"), []
        while (job := queue.claim()) is not None:
            got.append(job.id)
        return got

    with ThreadPoolExecutor(4) as pool:
        got = [job_id for found in pool.map(work, range(4)) for job_id in found]
    assert sorted(got) == sorted(ids)


class Watching:
    """A watch over leases whose monotonic clock goes as the test says."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self._watch = 1000.0, LeaseWatch(database)
        monkeypatch.setattr("wsi_segment.service.jobs.leases.time.monotonic", lambda: self.now)

    def look_for(self, seconds: float, between: Callable[[], object] = lambda: None) -> int:
        """Look every two seconds; how many jobs were freed."""
        freed = self._watch.free_lost()
        for _ in range(int(seconds / 2)):
            self.now += 2.0
            between()
            freed += self._watch.free_lost()
        return freed


def test_after_its_lease_a_job_is_anothers_and_the_first_owner_can_write_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job_id,) = accept(database)
    first, second = Queue(database, "lost/1/a"), Queue(database, "host/2/b")
    old = claimed(first)
    assert Watching(database, monkeypatch).look_for(LEASE_SECONDS) == 1
    new = claimed(second)
    assert (new.id, new.fence) == (job_id, 2)
    assert not first.look(old).held
    writes: list[Callable[[], object]] = [
        lambda: first.renew(old),
        lambda: first.progress(old, "segment", 9, 9),
        lambda: first.end(old, "successful"),
    ]
    for write in writes:
        with pytest.raises(LostJobError):
            write()
    first.release(old, "stopped")
    assert state(database, job_id).owner == "host/2/b"
    second.end(new, "successful")
    assert kinds(database, job_id).count("successful") == 1


def test_a_renewed_lease_keeps_a_job(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(database)
    queue = Queue(database, "host/1/a")
    job = claimed(queue)
    assert Watching(database, monkeypatch).look_for(10 * LEASE_SECONDS, lambda: queue.renew(job)) == 0
    assert Queue(database, "host/2/b").claim() is None


def test_three_crashes_fail_a_job_and_the_queue_goes_on(database: Database) -> None:
    poison, sound = accept(database, 2)
    queue = Queue(database, "host/1/a")
    for crash in range(3):
        job = claimed(queue)
        assert job.id == poison
        assert state(database, poison).crashes == crash
        free_owners(database, ["host/1/a"], "signal 11")
    failed = state(database, poison)
    assert failed.status == "failed"
    assert "3 times" in failed.message
    assert "signal 11" in failed.message
    assert claimed(queue).id == sound


def test_a_job_that_gets_further_between_crashes_is_not_given_up(database: Database) -> None:
    (long,) = accept(database)
    queue = Queue(database, "host/1/a")

    def run_and_crash(kept: int) -> Job:
        job = claimed(queue)
        queue.progress(job, "tissue", 5, 5)
        queue.progress(job, "segment", kept + 7, 100, kept)  # what was in flight at the crash is lost
        free_owners(database, ["host/1/a"], "it was stopped")
        return state(database, long)

    for kept in range(0, 60, 10):
        assert run_and_crash(kept).status == "accepted"
    failed = run_and_crash(50)  # the third in a row that found no more than that
    assert failed.status == "failed"
    assert failed.message.startswith("the worker ended 3 times")


def test_a_service_that_stops_blames_no_job(database: Database) -> None:
    (job_id,) = accept(database)
    queue = Queue(database, "host/1/a")
    for _ in range(5):
        claimed(queue)
        free_owners(database, ["host/1/a"], "the service was stopped", crashed=False)
    assert (state(database, job_id).status, state(database, job_id).crashes) == ("accepted", 0)


def test_a_job_whose_results_were_removed_has_results_again_after_a_retry(database: Database, tmp_path: Path) -> None:
    (job_id,) = accept(database)
    jobs, queue = Jobs(database), Queue(database, "host/1/a")
    queue.end(claimed(queue), "failed", "no")
    Housekeeping(database, tmp_path, keep_days=None, min_free=0).remove_results(job_id)
    assert state(database, job_id).removed is not None
    assert jobs.retry(job_id)
    queue.end(claimed(queue), "successful")
    assert state(database, job_id).removed is None


def test_a_batch_that_is_tried_again_takes_a_turn_a_job(database: Database) -> None:
    large = accept(database, 4, batch="large")
    jobs = Jobs(database)
    batch = state(database, large[0]).batch
    assert batch is not None
    jobs.cancel_batch(batch)
    assert jobs.retry_batch(batch) == 4
    later = accept(database, 2)
    queue = Queue(database, "host/1/a")
    order = [claimed(queue).id for _ in range(6)]
    assert order == [large[0], later[0], large[1], later[1], large[2], large[3]]


def test_turns_are_those_of_jobs_of_the_same_priority(database: Database) -> None:
    queue = Queue(database, "host/1/a")
    urgent = accept(database, 3, priority=5, batch="urgent")
    assert claimed(queue).id == urgent[0]
    calm = accept(database, 2)  # turns 0 and 1, though that of the urgent ones is 1 by now
    between = accept(database, 1)
    assert [claimed(queue).id for _ in range(5)] == [*urgent[1:], calm[0], between[0], calm[1]]


def test_giving_a_job_back_is_no_crash(database: Database) -> None:
    (job_id,) = accept(database)
    queue = Queue(database, "host/1/a")
    for _ in range(5):
        queue.release(claimed(queue), "the service was stopped")
    assert state(database, job_id).status == "accepted"
    assert state(database, job_id).crashes == 0


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_is_asked(database: Database) -> None:
    running, waiting = accept(database, 2)
    jobs, queue = Jobs(database), Queue(database, "host/1/a")
    job = claimed(queue)
    assert jobs.cancel(waiting)
    assert state(database, waiting).status == "dismissed"
    assert not queue.look(job).cancelled
    assert jobs.cancel(running)
    assert queue.look(job).cancelled
    assert state(database, running).status == "running"
    queue.end(job, "dismissed", "cancelled")
    assert not jobs.cancel(running)
    assert kinds(database, running) == ["accepted", "running", "dismissed"]


def test_a_cancelled_job_whose_worker_dies_is_dismissed_and_not_tried_again(database: Database) -> None:
    (job_id,) = accept(database)
    queue = Queue(database, "host/1/a")
    claimed(queue)
    Jobs(database).cancel(job_id)
    free_owners(database, ["host/1/a"], "signal 9")
    assert state(database, job_id).status == "dismissed"


@pytest.mark.parametrize(
    "leave",
    [
        lambda queue, job: queue.end(job, "successful", warnings=[{"code": "no-tissue", "message": "none"}]),
        lambda queue, job: queue.end(job, "failed", "no"),
        lambda queue, job: queue.release(job, "the service was stopped"),
        lambda queue, job: queue.release(job, "it was stopped", crashed=True),
    ],
    ids=["done", "failed", "given back", "crashed"],
)
def test_a_job_whose_cancel_was_accepted_is_dismissed_however_its_worker_leaves_it(
    database: Database, leave: Callable[[Queue, Job], object]
) -> None:
    (job_id,) = accept(database)
    jobs, queue = Jobs(database), Queue(database, "host/1/a")
    job = claimed(queue)
    assert jobs.cancel(job_id)  # which the worker has not seen when it ends
    leave(queue, job)
    ended = state(database, job_id)
    assert (ended.status, ended.message, ended.warnings, ended.owner) == ("dismissed", "cancelled", [], None)
    assert ended.finished is not None
    last = read_events(database, 0, job=job_id)[-1]
    assert (last.kind, last.data) == ("dismissed", {"message": "cancelled"})
    assert queue.claim() is None


def test_failed_and_dismissed_jobs_are_tried_again_and_others_are_not(database: Database) -> None:
    first, second = accept(database, 2, batch="b")
    jobs, queue = Jobs(database), Queue(database, "host/1/a")
    queue.end(claimed(queue), "failed", "no")
    assert jobs.retry(first)
    assert not jobs.retry(second)
    again = state(database, first)
    assert (again.status, again.message, again.crashes, again.finished) == ("accepted", "", 0, None)
    batch = again.batch
    assert batch is not None
    assert jobs.cancel_batch(batch) == 2
    assert jobs.retry_batch(batch) == 2
    found = jobs.batch(batch)
    assert found is not None
    assert found.counts == {"accepted": 2}


def test_jobs_of_dead_processes_of_this_host_are_freed_and_those_of_live_ones_are_kept(database: Database) -> None:
    dead, alive, elsewhere = accept(database, 3)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with subprocess.Popen([sys.executable, "-c", "input()", "token-b"], stdin=subprocess.PIPE) as living:
        claimed(Queue(database, owner_name(ended.pid, "token-a")))
        claimed(Queue(database, owner_name(living.pid, "token-b")))
        claimed(Queue(database, "another-host/1/token-c"))
        assert free_dead_owners(database) == 1
        assert [state(database, one).status for one in (dead, alive, elsewhere)] == ["accepted", "running", "running"]
        living.communicate(b"\n")


def test_events_are_numbered_without_gaps_while_many_write(database: Database) -> None:
    def work(number: int) -> None:
        queue = Queue(database, f"host/{number}/a")
        while (job := queue.claim()) is not None:
            queue.end(job, "successful")

    accept(database, 30)
    seen: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, number) for number in range(4)]
        while len(seen) < 90:
            found = read_events(database, seen[-1] if seen else 0)
            seen += [event.number for event in found]
        for one in working:
            one.result()
    assert seen == list(range(1, 91))  # a number that became visible late would be missing here


def test_a_page_of_jobs_goes_on_where_the_last_one_ended(database: Database) -> None:
    ids = accept(database, 7)
    jobs = Jobs(database)
    first = jobs.listed(None, 4)
    second = jobs.listed(first[-1].number, 4)
    assert [job.id for job in (*first, *second)] == ids[::-1]
    assert [job.id for job in jobs.listed(None, 9, status="running")] == []


def test_clients_may_ask_from_behind_any_number_that_a_token_has_room_for(database: Database) -> None:
    ids, largest = accept(database, 2, batch="b"), 10**15 - 1
    jobs = Jobs(database)
    assert [job.id for job in jobs.listed(largest, 9)] == ids[::-1]
    assert [batch.jobs for batch in jobs.listed_batches(largest, 9)] == [2]
    assert read_events(database, largest) == []


def test_old_results_are_removed_and_the_job_stays(database: Database, tmp_path: Path) -> None:
    old, new = accept(database, 2)
    queue = Queue(database, "host/1/a")
    for job_id in (old, new):
        queue.end(claimed(queue), "successful")
        (tmp_path / "results" / job_id).mkdir(parents=True)
    with database.write() as connection:
        connection.execute(update(table).where(table.c.id == old).values(finished=time.time() - 3 * 86400))
    Housekeeping(database, tmp_path, keep_days=2, min_free=0).tidy()
    assert [folder.name for folder in (tmp_path / "results").iterdir()] == [new]
    assert state(database, old).removed is not None
    assert state(database, new).removed is None
    assert kinds(database, old)[-1] == "removed"


def test_results_whose_removal_was_cut_off_are_removed_later(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = accept(database, 2)
    queue = Queue(database, "host/1/a")
    for job_id in (before, after):
        queue.end(claimed(queue), "successful")
        (tmp_path / "results" / job_id).mkdir(parents=True)
        (tmp_path / "results" / job_id / "preview.png").touch()
    housekeeping = Housekeeping(database, tmp_path, keep_days=None, min_free=0)
    with monkeypatch.context() as cut_off:  # after the row was written
        cut_off.setattr("shutil.rmtree", lambda *arguments, **more: None)
        housekeeping.remove_results(after)
    (tmp_path / "results" / before).rename(tmp_path / "results" / f"{before}.removed")  # and before it was
    assert len(list((tmp_path / "results").iterdir())) == 2
    housekeeping.tidy()
    assert list((tmp_path / "results").iterdir()) == []
    assert all(state(database, job_id).removed is not None for job_id in (before, after))
    assert kinds(database, before)[-1] == kinds(database, after)[-1] == "removed"


def test_news_of_progress_is_forgotten_after_a_day_and_what_became_of_a_job_never(
    database: Database, tmp_path: Path
) -> None:
    old, new = accept(database, 2)
    queue = Queue(database, "host/1/a")
    for _ in (old, new):
        job = claimed(queue)
        for done in range(5):
            queue.progress(job, "segment", done, 5)
        queue.end(job, "successful")
    with database.write() as connection:
        connection.execute(update(events).where(events.c.job == old).values(time=time.time() - 2 * 86400))
    seen = read_events(database, 0)
    Housekeeping(database, tmp_path, keep_days=None, min_free=0).tidy()
    assert kinds(database, old) == ["accepted", "running", "successful"]
    assert kinds(database, new) == ["accepted", "running", *["progress"] * 5, "successful"]
    left = read_events(database, 0)
    middle = next(event.number for event in seen if event.kind == "progress")  # which is gone
    assert read_events(database, middle) == [event for event in left if event.number > middle]


def test_an_older_database_is_copied_before_it_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(tmp_path)
    database.migrate()
    accept(database)
    database.close()
    steps = database_module._MIGRATIONS
    later = tmp_path / "migrations"
    (later / "versions").mkdir(parents=True)
    for path in (*steps.glob("*.py"), *steps.glob("versions/*.py")):
        (later / path.relative_to(steps)).write_bytes(path.read_bytes())
    step = f"revision = '9999'\ndown_revision = '{VERSION}'\nfrom alembic import op\n"
    (later / "versions" / "v9999_next.py").write_text(f"{step}def upgrade(): op.execute('DELETE FROM jobs')\n")
    monkeypatch.setattr(database_module, "_MIGRATIONS", later)
    monkeypatch.setattr(database_module, "VERSION", "9999")
    changed = Database(tmp_path)
    changed.migrate()
    assert Jobs(changed).listed(None, 1) == []
    changed.close()
    copy = sqlite3.connect(tmp_path / f"{SQLITE_FILE}.before-9999")
    assert copy.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    copy.close()
    monkeypatch.undo()
    older = Database(tmp_path)
    with pytest.raises(InputError, match="newer version"):
        older.migrate()
    older.close()


def test_a_data_folder_on_a_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "file_system_of", lambda path: "nfs4")
    with pytest.raises(InputError, match="nfs4, where SQLite loses data"):
        Database(tmp_path)


def test_two_processes_may_begin_in_one_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch = Path.touch

    def touched_and_removed_by_another(path: Path) -> None:
        touch(path)
        path.unlink()

    monkeypatch.setattr(Path, "touch", touched_and_removed_by_another)
    Database(tmp_path).close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://a@b/c"])
def test_other_databases_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="`database`"):
        Database(tmp_path, url)


def test_a_database_that_does_not_answer_is_said_in_a_line(tmp_path: Path) -> None:
    database = Database(tmp_path, "postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(InputError, match="cannot be reached"):
        database.migrate()
