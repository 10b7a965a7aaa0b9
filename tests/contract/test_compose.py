"""docker-compose.yml: valid by the Compose specification, and what it starts keeps jobs and stays private."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

FILE = Path(__file__).parents[2] / "docker-compose.yml"


def validate(file: Path) -> subprocess.CompletedProcess[str]:
    # The schema is the specification's own, kept inside check-jsonschema; nothing is fetched.
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = YAML(typ="safe").load(FILE)["services"]
    return found


def test_the_file_is_valid_by_the_compose_specification() -> None:
    checked = validate(FILE)
    assert checked.returncode == 0, checked.stdout


def test_the_check_of_the_schema_can_fail(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(FILE.read_text().replace("stop_grace_period: 30s", "stop_grace_time: 30s"))
    assert "stop_grace_time" in validate(wrong).stdout


def test_the_server_keeps_what_it_is_given(services: dict[str, dict[str, Any]]) -> None:
    command = services["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert "redis-data:/data" in services["redis"]["volumes"]


def test_the_others_wait_for_a_healthy_server(services: dict[str, dict[str, Any]]) -> None:
    assert services["redis"]["healthcheck"]["test"]
    assert services["worker"]["depends_on"]["redis"]["condition"] == "service_healthy"


def test_a_stopped_worker_has_more_time_than_it_takes_to_drain(services: dict[str, dict[str, Any]]) -> None:
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) > 30


def test_nothing_is_published_beyond_this_machine(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_is_built_from_files_that_exist(services: dict[str, dict[str, Any]]) -> None:
    steps = services["worker"]["build"]["dockerfile_inline"].splitlines()
    copied = [name for step in steps if step.startswith("COPY ") for name in step.split()[1:-1]]
    assert copied
    assert [name for name in copied if not (FILE.parent / name).exists()] == []
