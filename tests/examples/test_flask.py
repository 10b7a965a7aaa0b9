"""The Flask example: views that add and read jobs, and a worker in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import SyncQueue
from tests.examples.serving import Answer, Server, serving, wait_for
from tests.support.daemons import Daemon, daemon

pytest.importorskip("flask", reason="flask is not installed")

# Each test starts several programs, which take their time on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


FLASK = ("flask", "--app", "examples.flask.app", "run", "--port", "0")


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> Iterator[Server]:
    with serving(*FLASK, log=tmp_path / "app.log", env={"REDIS_URL": redis_url}) as server:
        yield server


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[Daemon]:
    with daemon("examples.flask.jobs", log=tmp_path / "worker.log", env={"REDIS_URL": redis_url}) as worker:
        yield worker
        assert worker.stop() == 0


def add(app: Server, table: str) -> Answer:
    return app.send("POST", "/summaries", table.encode(), content_type="text/csv")


def finished(app: Server, added: Answer) -> Answer:
    """The answer of a request that waits; repeated, since the worker may not have started within the longest wait."""

    def read() -> Answer | None:
        answer = app.get(f"{added.headers['location']}?wait=10000")
        return answer if answer.status == 200 else None

    answer: Answer = wait_for(read, "the job is finished")
    return answer


def test_a_request_may_wait_for_its_summary(app: Server, worker: Daemon) -> None:
    added = add(app, "city,sold\nRome,3\nOslo,4.5\n")
    assert added.status == 202
    read = finished(app, added)
    summary = {"rows": 2, "totals": {"sold": 7.5}}
    assert read.body == {"id": added.body["id"], "state": "completed", "summary": summary}


def test_a_table_without_rows_fails_at_once(app: Server, worker: Daemon) -> None:
    added = add(app, "city,sold\n")
    read = finished(app, added)
    assert read.body == {"id": added.body["id"], "state": "failed", "error": "the table has no rows"}


def test_a_summary_that_is_not_there_yet(app: Server) -> None:
    added = add(app, "sold\n1\n")
    read = app.get(f"{added.headers['location']}?wait=10")
    assert (read.status, read.body["state"]) == (202, "waiting")
    assert app.get("/summaries/none").status == 404
    assert add(app, "x" * 500_001).status == 413


def test_without_redis_a_request_is_answered_503(tmp_path: Path) -> None:
    with serving(*FLASK, log=tmp_path / "app.log", env={"REDIS_URL": "redis://127.0.0.1:1"}) as app:
        answer = add(app, "sold\n1\n")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_a_stop_of_the_application_loses_no_job(app: Server, redis_url: str, tmp_path: Path) -> None:
    ids = [add(app, "sold\n1\n").body["id"] for _ in range(20)]
    app.stop()
    with SyncQueue("summary-queue", redis=redis_url) as queue:
        assert queue.counts().waiting == 20
        with daemon("examples.flask.jobs", log=tmp_path / "worker.log", env={"REDIS_URL": redis_url}) as worker:
            wait_for(lambda: queue.counts().completed == 20, "all jobs are completed")
            assert worker.stop() == 0
        assert {job.id for job in queue.jobs("completed")} == set(ids)
