"""`corral demo`: starts a server, a worker and a mail server, runs one real job of every type, and stops them; files remain.

It imports no processors: it adds jobs, and starts processes by the names of modules.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.cli.demo.jobs import TENANT, add_all, draw
from engine.cli.demo.mail_sink import mail_sink
from engine.cli.demo.watching import Shown, lines, live_table
from engine.cli.printing import show_table
from engine.connection import RedisSettings
from engine.connection.embedded import stop_server
from engine.errors import ConnectFailed, CorralError, InvalidInput, MissingExtra
from engine.service.service import JobQueueService
from engine.settings import Settings
from engine.worker.process.parent import WorkerProcess, python_module

_START_TIMEOUT = 30.0
_RUN_TIMEOUT = 60.0
_STOP_TIMEOUT = 15.0


async def run_demo(folder: Path | None = None, *, plain: bool = False) -> int:
    """Run the demo and print the results; 0 if every job was completed. The files stay in `folder`."""
    _check_extras()
    root = _root(folder)
    stop = _stop_on_signals()
    work = asyncio.create_task(_Demo(root, plain=plain).run())
    await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        work.cancel()
    stop.cancel()
    try:
        return await work
    except asyncio.CancelledError:
        print("stopped; all processes have ended", file=sys.stderr)
        return 130


def _check_extras() -> None:
    for module in ("aiosmtpd", "aiosmtplib", "jinja2", "sqlalchemy", "aiosqlite", "PIL", "aiohttp"):
        if find_spec(module) is None:
            raise MissingExtra("the demo", "demo")
    if find_spec("processors") is None:
        raise InvalidInput(
            "the demo needs the bundled package `processors`, which is not installed: pip install 'corral[demo]'"
        )


def _root(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="corral-demo-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"--dir {folder}: {error.strerror}; give a folder that can be made or written to") from None
    return folder.resolve()


def _stop_on_signals() -> asyncio.Task[Any]:
    """A task that ends when this process is asked to stop."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked.set)
    return asyncio.create_task(asked.wait())


class _Demo:
    """One run: starts its parts in order, and stops them in reverse."""

    def __init__(self, root: Path, *, plain: bool) -> None:
        self._root = root
        self._plain = plain or not sys.stdout.isatty() or find_spec("rich") is None
        self._redis = RedisSettings.parse(f"embedded:{root / 'redis'}")
        self._storage = root / "storage"
        self._mail = root / "mail"
        self._before = set(root.rglob("*"))

    async def run(self) -> int:
        began = time.monotonic()
        self._say(f"folder   {self._root}")
        self._mail.mkdir(exist_ok=True)
        async with mail_sink(self._mail) as port:
            self._say(f"mail     an SMTP server on 127.0.0.1:{port} that keeps each mail as a file")
            env = self._environment(port)
            await self._prepare(env)
            try:
                async with self._worker(env):
                    finished = await self._jobs()
            finally:
                await asyncio.to_thread(stop_server, self._root / "redis")
        self._show(finished, time.monotonic() - began)
        return 0 if all(job.status == "completed" for job in finished) else 1

    def _say(self, line: str) -> None:
        print(line, flush=True)

    async def _prepare(self, env: Mapping[str, str]) -> None:
        """Make the input: a database with rows of two tenants, and a picture in the tenant's folder."""
        await _call("processors.data_export.sample_data", str(self._root / "export.db"), env=env)
        self._say("data     leads, bookings and users of two tenants in export.db")
        await asyncio.to_thread(draw, self._storage / TENANT / "photo.jpg")
        (self._storage / TENANT / "notes.txt").write_text("Packed together with the picture.\n" * 40)
        self._say("picture  1600 x 1200 pixels in photo.jpg")

    def _environment(self, port: int) -> Mapping[str, str]:
        ours = ("REDIS_", "JOB_QUEUE_", "SMTP_", "SMS_", "CORRAL_", "FILE_", "EMAIL_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        path = [_home_of("processors"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(path),
            "SMTP_URL": f"smtp://127.0.0.1:{port}",
            "MAIL_FROM": "Corral <demo@corral.example>",
            "STORAGE_DIR": str(self._storage),
            "EXPORT_DATABASE_URL": f"sqlite+aiosqlite:///{self._root / 'export.db'}",
        }

    @asynccontextmanager
    async def _worker(self, env: Mapping[str, str]) -> AsyncIterator[None]:
        log, arguments = self._root / "worker.log", ["processors", "--redis", self._redis.url, "--grace", "5s"]
        # In its own folder: a package `processors` in the current one is not the one that the demo needs.
        child = await WorkerProcess.start(arguments, env=env, folder=self._root, output=log)
        try:
            if not await _comes_up(child):
                raise ConnectFailed(f"the worker did not start: {_last_line(log)} (its log: {log})")
            self._say(f"worker   process {child.pid}, five queues, on a Redis of its own")
            yield
        finally:
            await _end(child)

    async def _jobs(self) -> list[Shown]:
        settings = Settings(redis=self._redis)
        async with JobQueueService.from_settings(settings) as service:
            shown = [Shown(job_type, what, job_id) for job_type, what, job_id in await add_all(service)]
            view = lines if self._plain else live_table
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RUN_TIMEOUT):
                    await view(service, shown)
        return shown

    def _show(self, finished: Sequence[Shown], seconds: float) -> None:
        print()
        heads = ["type", "job", "id", "status", "ms", "result"]
        show_table(heads, [[j.job_type, j.what, j.job_id, j.status, j.took, j.summary] for j in finished])
        made = (path for path in self._storage.rglob("*") if path.is_file() and path.parent.name != TENANT)
        for title, paths in (("files made", made), ("mail received", self._mail.glob("*.eml"))):
            print(f"\n{title}:")
            for path in sorted(set(paths) - self._before):
                print(f"  {path}  ({path.stat().st_size:,} bytes)")
        done = sum(job.status == "completed" for job in finished)
        print(f"\n{done} of {len(finished)} jobs completed, {seconds:.1f} s in all. Log: {self._root / 'worker.log'}")


async def _call(module: str, *arguments: str, env: Mapping[str, str]) -> None:
    """Run a module in a process of its own. Raises CorralError with the last line of its errors if it fails."""
    process = await asyncio.create_subprocess_exec(
        *python_module(module), *arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise CorralError(f"python -m {module} failed: {last[0] if last else process.returncode}")


def _home_of(package: str) -> str:
    """The folder that a package is imported from."""
    found = find_spec(package)
    return str(Path(found.origin).parents[1]) if found and found.origin else ""


async def _comes_up(child: WorkerProcess) -> bool:
    try:
        return await asyncio.wait_for(child.came_up(), _START_TIMEOUT)
    except TimeoutError:
        return False


async def _end(child: WorkerProcess) -> None:
    """Stop the worker: SIGTERM, and SIGKILL after 15 s."""
    child.signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(child.wait(), _STOP_TIMEOUT)
    except TimeoutError:
        child.signal(signal.SIGKILL)
        await child.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "its log is empty"
