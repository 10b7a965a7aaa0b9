"""BullMQ's Python port, driven as the Node process is; and where its packages come from."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.interop.side import PACKAGES, NodeSide, NotInstalled
from tests.interop.sides import Theirs

VERSION = "3.4.4"
PYTHON = "{}.{}".format(*sys.version_info)


def need_port() -> None:
    """Skip the test, and say why, where the port cannot be had."""
    if why := _missing():
        pytest.skip(why)


@cache
def _missing() -> str:
    # Asked once: without a network each try takes a while.
    try:
        packages()
    except NotInstalled as error:
        return str(error)
    return ""


def packages() -> Path:
    """The folder with the port and what it needs, apart from our own packages; installed if it is not there yet."""
    folder = PACKAGES / f"python-{VERSION}-{PYTHON}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "installed"
        if not done.exists():
            pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--upgrade"]
            try:
                subprocess.run(
                    [*pip, "--target", str(folder / "packages"), f"bullmq=={VERSION}"],
                    check=True, capture_output=True, text=True, timeout=300,
                )  # fmt: skip
            except subprocess.CalledProcessError as error:
                raise NotInstalled(
                    f"pip could not install bullmq {VERSION}: {error.stderr.strip().splitlines()[-1]}"
                ) from None
            except subprocess.TimeoutExpired as error:
                raise NotInstalled(f"pip could not install bullmq {VERSION}: {error}") from None
            done.touch()
    return folder / "packages"


class PortSide(NodeSide):
    """`async with PortSide(url) as port`: the port's objects by name, their methods, what they told."""

    def __init__(self, url: str) -> None:
        super().__init__(VERSION, url)

    def _program(self) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, str(Path(__file__).with_name("side.py")), self._url], {"PYTHONPATH": str(packages())}


class Ported(Theirs):
    """The port by the calls that all sides have."""

    async def schedule(self, queue: str, id: str, data: Any, **repeat: Any) -> None:
        await self.call(queue, "upsertJobScheduler", id, repeat, id, data)
