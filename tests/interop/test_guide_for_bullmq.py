"""Every BullMQ name in the guide for BullMQ's users exists in the types of 5.63 or 6.7."""

from __future__ import annotations

import re

from tests.contract.test_guides import BULLMQ, named
from tests.interop.side import modules, need

VERSIONS = ("5.63.0", "6.7.0")


def test_every_name_of_bullmqs_in_the_guide_is_one() -> None:
    need(*VERSIONS)
    types = [path for version in VERSIONS for path in (modules(version) / "bullmq" / "dist" / "esm").rglob("*.d.ts")]
    there = set(re.findall(r"[\w-]+", "\n".join(path.read_text() for path in types)))
    said = set(named(BULLMQ, 1)) - {"job."}
    assert len(said) > 100
    assert said - there == set()
