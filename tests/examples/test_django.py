"""The Django example: a job that is added when an order's transaction commits, and a worker that starts Django."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlencode

import pytest

from engine import SyncQueue
from tests.examples.serving import Answer, Server, serving, wait_for
from tests.support.daemons import ROOT, Daemon, daemon

pytest.importorskip("django", reason="django is not installed")

# Each test starts several programs, which take their time on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MANAGE = "examples.django.manage"


class Shop:
    """The example's database in a folder of the test, and what may be run on it."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.env = {"REDIS_URL": redis_url, "SHOP_DATABASE": str(folder / "shop.sqlite3")}
        self.manage("migrate")

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "-m", MANAGE, *arguments]
        ended = subprocess.run(
            command, cwd=ROOT, env=os.environ | self.env, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def server(self, **env: str) -> AbstractContextManager[Server]:
        """Django's own web server."""
        arguments = (MANAGE, "runserver", "--noreload", "127.0.0.1:0")
        return serving(*arguments, log=self.folder / "server.log", env=self.env | env)

    def worker(self) -> AbstractContextManager[Daemon]:
        return daemon("examples.django.worker:processors", log=self.folder / "worker.log", env=self.env)

    def mails(self) -> int:
        return (self.folder / "worker.log").read_text().count("Subject: Your order")


@pytest.fixture
def shop(redis_url: str, tmp_path: Path) -> Shop:
    return Shop(tmp_path, redis_url)


@pytest.fixture
def queue(redis_url: str) -> Iterator[SyncQueue]:
    with SyncQueue("confirmation-queue", redis=redis_url) as queue:
        yield queue


def place(server: Server, card: str = "4242") -> Answer:
    form = urlencode({"email": "ada@example.com", "item": "Tea", "card": card}).encode()
    return server.send("POST", "/orders/", form, content_type="application/x-www-form-urlencoded")


def test_an_order_is_confirmed_after_its_commit(shop: Shop) -> None:
    with shop.server() as server, shop.worker() as worker:
        placed = place(server)
        assert placed.status == 202
        order = placed.headers["location"]
        assert order == f"/orders/{placed.body['id']}/"
        wait_for(lambda: server.get(order).body["job"] == "completed", "the order is confirmed")
        assert server.get(order).body["confirmed_at"]
        assert worker.stop() == 0
    assert shop.mails() == 1


def test_an_order_that_is_rolled_back_has_no_job(shop: Shop, queue: SyncQueue) -> None:
    with shop.server() as server:
        assert place(server, card="0000").status == 402
        assert server.send("POST", "/orders/").status == 400
        assert server.get("/orders/1/").status == 404
    assert queue.counts().waiting == 0


def test_a_second_run_sends_no_second_mail(shop: Shop, queue: SyncQueue) -> None:
    with shop.server() as server, shop.worker() as worker:
        job_id = f"order-{place(server).body['id']}"
        wait_for(lambda: queue.counts().completed, "the order is confirmed")
        queue.retry(job_id)
        job = queue.get_job(job_id)
        assert job is not None
        assert job.result(timeout=60_000) == "was confirmed before"
        assert worker.stop() == 0
    assert shop.mails() == 1


def test_orders_placed_without_redis_are_confirmed(shop: Shop, queue: SyncQueue) -> None:
    with shop.server(REDIS_URL="redis://127.0.0.1:1") as server:
        assert place(server).status == 202
    assert queue.counts().waiting == 0
    for _ in range(2):
        assert shop.manage("confirm_orders") == "orders without a confirmation: 1\n"
        assert queue.counts().waiting == 1
    with shop.worker() as worker:
        wait_for(lambda: queue.counts().completed, "the order is confirmed")
        assert worker.stop() == 0
    assert shop.mails() == 1


def test_a_stop_of_the_worker_loses_no_order(shop: Shop, queue: SyncQueue) -> None:
    with shop.server() as server:
        orders = [place(server).body["id"] for _ in range(20)]
    with shop.worker() as first:
        wait_for(lambda: queue.counts().completed, "an order is confirmed")
        assert first.stop() == 0
    counts = queue.counts()
    assert (counts.active, counts.waiting + counts.completed) == (0, len(orders))
    with shop.worker() as second:
        wait_for(lambda: queue.counts().completed == len(orders), "all orders are confirmed")
        assert second.stop() == 0
    assert shop.mails() == len(orders)
