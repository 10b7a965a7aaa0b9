"""A Flask application that gives work to a queue and reads what became of it, without an event loop of its own."""

from __future__ import annotations

import atexit

from flask import Flask, abort, request, url_for
from flask.typing import ResponseReturnValue

from engine import SyncQueue, errors
from examples.flask.jobs import QUEUE, Table, summarize

MOST_WAIT = 10_000
"""Milliseconds that a request may wait for its job: it occupies a thread of the web server."""


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 500_000  # a job's data may have 1 MB
    # The server of REDIS_URL. Connects at the first call, in each process that the web server forks.
    queue = SyncQueue(QUEUE)
    # `add` returns when Redis has the job, so that there is nothing to save at shutdown. This closes the connection.
    atexit.register(queue.close)

    @app.post("/summaries")
    def add() -> ResponseReturnValue:
        job = queue.add(summarize, Table(request.get_data(as_text=True)))
        return {"id": job.id}, 202, {"Location": url_for("read", job_id=job.id)}

    @app.get("/summaries/<job_id>")
    def read(job_id: str) -> ResponseReturnValue:
        """The summary, or the state of its job; `?wait=MS` waits for the job to finish."""
        job = queue.get_job(job_id, summarize)
        if job is None:
            abort(404, f"there is no summary {job_id!r}")
        wait = min(max(request.args.get("wait", 0, type=int), 0), MOST_WAIT)
        try:
            summary = job.result(timeout=wait)
        except errors.JobFailed as error:
            return {"id": job.id, "state": "failed", "error": error.reason}
        except TimeoutError:
            return {"id": job.id, "state": job.state()}, 202
        return {"id": job.id, "state": "completed", "summary": summary}

    @app.errorhandler(errors.LinkError)
    def unavailable(error: errors.LinkError) -> ResponseReturnValue:
        return {"error": "the queue is not available"}, 503, {"Retry-After": "5"}

    return app
