"""A first job: a producer adds it, a worker runs it, the producer gets the result. Start here."""

from __future__ import annotations

from msgspec import Struct

from engine import Job, Queue, Worker, processor
from tests.support.running import running


class Greeting(Struct, rename="camel"):
    first_name: str
    exclaim: bool = False


@processor("greet")
async def greet(job: Job[Greeting]) -> dict[str, str]:
    mark = "!" if job.data.exclaim else "."
    return {"text": f"Hello, {job.data.first_name}{mark}"}


async def test_a_job_is_added_done_and_answered(redis_url: str) -> None:
    async with Queue("greetings", redis=redis_url) as queue:
        job = await queue.add("greet", Greeting("Ada", exclaim=True))
        assert await job.state() == "waiting"

        async with running(Worker("greetings", greet, redis=redis_url)):
            assert await job.result(timeout=10_000) == {"text": "Hello, Ada!"}

        assert await job.state() == "completed"
        counts = await queue.counts()
        assert (counts.waiting, counts.active, counts.completed) == (0, 0, 1)


async def test_a_job_can_be_read_again_by_its_id(redis_url: str) -> None:
    async with Queue("greetings", redis=redis_url) as queue:
        job = await queue.add("greet", Greeting("Grace"))
        async with running(Worker("greetings", greet, redis=redis_url, name="desk-1")):
            await job.result(timeout=10_000)

        read = await queue.get_job(job.id)
        assert read is not None
        assert read.data == {"firstName": "Grace", "exclaim": False}
        assert read.return_value == {"text": "Hello, Grace."}
        assert (read.attempts_made, read.attempts_started) == (1, 1)
        assert read.timestamp is not None
        assert read.finished_on is not None
        assert read.timestamp <= read.finished_on
        assert read.timestamp.tzinfo is not None

        assert await queue.get_job("no-such-job") is None


async def test_many_jobs_are_added_in_one_call(redis_url: str) -> None:
    from engine import NewJob

    seen: list[int] = []

    async def note(job: Job[int]) -> None:
        seen.append(job.data)

    async with Queue("numbers", redis=redis_url) as queue:
        jobs = await queue.add_many([NewJob("note", number) for number in range(2_500)])
        assert len({job.id for job in jobs}) == 2_500
        async with running(Worker("numbers", note, redis=redis_url, concurrency=1)):
            await jobs[-1].result(timeout=20_000)
    assert seen == list(range(2_500))
