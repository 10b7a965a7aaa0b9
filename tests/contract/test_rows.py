"""Each weakness of BullMQ that can be avoided has a test named after its row, and the page names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = re.findall(
    r"^async def (test_row_(\d\d)_\w+)",
    "".join(file.read_text() for file in (ROOT / "tests/weaknesses").glob("test_*.py")),
    re.M,
)
PAGE = (ROOT / "docs/weaknesses-avoided.md").read_text()


def test_every_row_has_a_test() -> None:
    assert {int(row) for name, row in TESTS if "_in_bullmq_" not in name} == set(range(1, 25))


def test_the_page_has_every_row_and_names_the_tests() -> None:
    assert [int(row) for row in re.findall(r"^\| (\d+) \|", PAGE, re.M)] == list(range(1, 25))
    assert set(re.findall(r"`(test_row_\w+)`", PAGE)) == {name for name, _ in TESTS}
