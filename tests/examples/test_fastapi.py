"""The FastAPI example: an API under uvicorn, with its worker in the same process and in one of its own."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import SyncQueue
from tests.examples.serving import Answer, Server, serving, wait_for
from tests.support.daemons import daemon

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")

# Each test starts several programs, which take their time on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@contextmanager
def api(redis_url: str, folder: Path, *, with_worker: bool, grace: int = 20) -> Iterator[Server]:
    env = {"REDIS_URL": redis_url, "REPORTS": str(folder), "WORKER_IN_PROCESS": "1" if with_worker else "0"}
    arguments = ("--port", "0", "--timeout-graceful-shutdown", str(grace))
    with serving("uvicorn", "examples.fastapi.app:app", *arguments, log=folder / "api.log", env=env) as server:
        yield server


def add(server: Server, rows: int, **headers: str) -> Answer:
    body = json.dumps({"title": "Sales", "rows": rows}).encode()
    return server.send("POST", "/reports", body, content_type="application/json", **headers)


def followed(server: Server, job_id: str) -> Iterator[dict[str, Any]]:
    """The statuses of a report's event stream, until the server ends it."""
    with urllib.request.urlopen(f"{server.url}/reports/{job_id}/events", timeout=30) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


def test_a_report_is_added_followed_and_read(redis_url: str, tmp_path: Path) -> None:
    with api(redis_url, tmp_path, with_worker=True) as server:
        added = add(server, 40)
        assert added.status == 202
        job_id = added.body["id"]
        assert added.headers["location"] == f"{server.url}/reports/{job_id}"

        statuses = list(followed(server, job_id))
        done = [status["progress"] or 0 for status in statuses]
        assert done == sorted(done)
        assert len(set(done)) > 2
        path = tmp_path / f"{job_id}.csv"
        assert statuses[-1] == {
            "id": job_id,
            "state": "completed",
            "progress": 100,
            "report": {"path": str(path), "rows": 40},
            "error": None,
        }
        assert len(path.read_text().splitlines()) == 40

        assert server.get(f"/reports/{job_id}").body == statuses[-1]
        assert list(followed(server, job_id)) == statuses[-1:]
        server.stop()


def test_what_the_api_refuses(redis_url: str, tmp_path: Path) -> None:
    with api(redis_url, tmp_path, with_worker=False) as server:
        assert server.get(f"/reports/{UNKNOWN}").status == 404
        assert server.get(f"/reports/{UNKNOWN}/events").status == 404
        assert server.get("/reports/meta").status == 404
        assert add(server, 0).status == 422
        assert add(server, 1, idempotency_key="1").status == 422


def test_a_key_sent_twice_makes_one_job(redis_url: str, tmp_path: Path) -> None:
    with api(redis_url, tmp_path, with_worker=False) as server, SyncQueue("report-queue", redis=redis_url) as queue:
        assert [add(server, 1, idempotency_key=UNKNOWN).body["id"] for _ in range(2)] == [UNKNOWN] * 2
        assert queue.counts().waiting == 1


def test_a_stop_of_the_api_loses_no_job(redis_url: str, tmp_path: Path) -> None:
    with SyncQueue("report-queue", redis=redis_url) as queue:
        with api(redis_url, tmp_path, with_worker=True) as server:
            ids = [add(server, 50).body["id"] for _ in range(12)]
            wait_for(lambda: queue.counts().active == 5, "five jobs run")
            server.stop()
        counts = queue.counts()
        assert (counts.active, counts.waiting + counts.completed) == (0, 12)
        assert counts.completed >= 5, "the running jobs were not finished"
        with api(redis_url, tmp_path, with_worker=True) as server:
            wait_for(lambda: queue.counts().completed == 12, "all jobs are completed")
            server.stop()
        check_reports(queue, tmp_path, ids)


def test_a_stop_of_a_worker_apart_loses_no_job(redis_url: str, tmp_path: Path) -> None:
    env = {"REDIS_URL": redis_url, "REPORTS": str(tmp_path)}
    worker = "examples.fastapi.jobs"
    with api(redis_url, tmp_path, with_worker=False) as server, SyncQueue("report-queue", redis=redis_url) as queue:
        ids = [add(server, 50).body["id"] for _ in range(12)]
        with daemon(worker, log=tmp_path / "worker.log", env=env) as first:
            wait_for(lambda: queue.counts().active == 5, "five jobs run")
            assert first.stop() == 0
        counts = queue.counts()
        assert (counts.active, counts.waiting + counts.completed) == (0, 12)
        with daemon(worker, log=tmp_path / "worker.log", env=env) as second:
            assert [list(followed(server, job_id))[-1]["state"] for job_id in ids] == ["completed"] * 12
            assert second.stop() == 0
        check_reports(queue, tmp_path, ids)


def test_an_open_stream_does_not_hold_up_a_stop(redis_url: str, tmp_path: Path) -> None:
    with api(redis_url, tmp_path, with_worker=False, grace=1) as server:
        statuses = followed(server, add(server, 1).body["id"])
        assert next(statuses)["state"] == "waiting"
        server.stop()


def check_reports(queue: SyncQueue, folder: Path, ids: list[str]) -> None:
    """Each job was completed by its first attempt, and its file is whole."""
    for job_id in ids:
        job = queue.get_job(job_id)
        assert job is not None
        assert (job.state(), job.attempts_made) == ("completed", 1)
    files = {path.stem: len(path.read_text().splitlines()) for path in folder.glob("*.csv")}
    assert files == dict.fromkeys(ids, 50)
