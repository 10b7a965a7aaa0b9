"""The wheel: what is in it, and that it works outside of the source tree."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree, built without a network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("corral-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed into."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run_installed(installed: Path, script: str) -> str:
    """What the script prints when the engine is the installed one and not the source tree's."""
    # -I keeps the working folder and PYTHONPATH out; an editable install in this venv comes after the first place.
    code = f"import sys; sys.path.insert(0, {str(installed)!r})\n{script}"
    ran = subprocess.run([sys.executable, "-I", "-c", code], cwd=installed, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_it_carries_every_script_and_the_marker_of_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    scripts = {f"engine/_lua/{file.relative_to(ROOT / 'lua').as_posix()}" for file in (ROOT / "lua").rglob("*.lua")}
    assert scripts
    assert scripts <= names
    assert "engine/py.typed" in names
    assert any(name.startswith("processors/") for name in names)


def test_it_carries_nothing_of_the_workshop(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"engine", "processors"}


def test_every_extra_that_an_error_may_name_is_there(installed: Path) -> None:
    (metadata,) = installed.glob("*.dist-info/METADATA")
    extras = set(Parser().parsestr(metadata.read_text()).get_all("Provides-Extra") or [])
    assert {"embedded", "email", "sms", "export", "files", "cli", "demo", "all"} <= extras


def test_the_installed_engine_imports_and_finds_its_scripts(installed: Path) -> None:
    script = "import engine, engine.scripting.loader as s; print(engine.__file__); print(s.lua_folder())"
    where, scripts = run_installed(installed, script).splitlines()
    assert Path(where).is_relative_to(installed)
    assert Path(scripts) == installed / "engine" / "_lua"


def test_every_binding_agrees_with_the_installed_scripts(installed: Path) -> None:
    script = """
import pkgutil, engine.scripts
for module in pkgutil.iter_modules(engine.scripts.__path__, "engine.scripts."):
    print(__import__(module.name, fromlist=["*"]).__name__)
"""
    assert "engine.scripts.claim" in run_installed(installed, script).split()


def test_pytest_finds_its_plugin_by_itself(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text("def test_it(corral_queue): assert corral_queue.name == 'test-queue'\n")
    script = f"""
import pytest
pytest.main(["-p", "no:cacheprovider", "-p", "no:asyncio", "--rootdir", {str(tmp_path)!r}, "--fixtures-per-test", {str(tmp_path)!r}])
"""
    said = run_installed(installed, script)
    assert "corral_queue -- " in said
    assert "engine/testing/plugin.py" in said
