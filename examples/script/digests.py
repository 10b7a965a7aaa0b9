"""Producer and worker in one file: prints the SHA-256 of files, and reads no unchanged file twice."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from engine import Job, NewJob, Queue, Worker, errors, processor

QUEUE = "digest-queue"
REDIS = os.environ.get("REDIS_URL", "embedded:")
"""Without REDIS_URL: a server of this user's own, which is started when it is needed and keeps its data."""


class File(Struct):
    path: str


@processor("digest", attempts=3, give_up_on=FileNotFoundError)
def digest(job: Job[File]) -> str:
    """The SHA-256 of a file. A plain `def` runs in a thread, so that other jobs go on meanwhile.

    Idempotent: it only reads, so that a second run of the job, such as after a crash, gives the same.
    """
    with open(job.data.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def new_job(path: Path) -> NewJob[File, str]:
    """A job whose id stands for the file as it is now: adding it again finds the first job, and its result."""
    path = path.resolve()
    return NewJob(digest, File(str(path)), job_id=f"{path} {path.stat().st_mtime_ns}".replace(":", "-"))


async def print_digests(jobs: Sequence[Job[File, str]], paths: Sequence[Path]) -> None:
    for job, path in zip(jobs, paths, strict=True):
        try:
            print(await job.result(), path, flush=True)
        except errors.JobFailed as error:
            print(f"{path}: {error.reason}", file=sys.stderr)


async def main(paths: Sequence[Path]) -> int:
    try:
        new_jobs = [new_job(path) for path in paths]
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    async with Queue(QUEUE, redis=REDIS) as queue, asyncio.TaskGroup() as tasks:
        jobs = await queue.add_many(new_jobs)
        worker = Worker(QUEUE, digest, redis=REDIS, concurrency=4)
        run = tasks.create_task(worker.run())
        printed = tasks.create_task(print_digests(jobs, paths))

        def stop() -> None:
            print("stopping: running jobs are finished, the others stay in the queue", file=sys.stderr, flush=True)
            tasks.create_task(worker.close())

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        await asyncio.wait((run, printed), return_when=asyncio.FIRST_COMPLETED)
        printed.cancel()
        await worker.close()
    return 1 if printed.cancelled() else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main([Path(name) for name in sys.argv[1:]])))
