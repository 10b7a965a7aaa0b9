"""JSON from JavaScript programs, whose text may hold lone surrogates."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from engine.errors import InvalidData
from engine.model import codec

UNITS = st.lists(st.sampled_from(["\ud83d", "\ude00", "\\", "u", "ud83d", '"', "é", "\u2028", "\x00", "a"]), max_size=8)
"""UTF-16 units, as JavaScript puts them together: with halves of pairs, and text that looks like an escape."""


@given(UNITS)
def test_a_lone_surrogate_is_read_as_u_fffd(units: list[str]) -> None:
    text = "".join(units)
    # How JavaScript itself reads it where it needs whole characters.
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert codec.decode("data", json.dumps({"text": text}).encode()) == {"text": whole}


class Letter(Struct):
    text: str
    number: int


def test_lone_surrogates_in_structs_and_error_paths() -> None:
    assert codec.decode("data", rb'{"text": "\ud83d", "number": 1}', Letter) == Letter("\ufffd", 1)
    with pytest.raises(InvalidData, match=r"data: \$\.number: Expected `int`, got `str`"):
        codec.decode("data", rb'{"text": "\ud83d", "number": "\udc00"}', Letter)


@pytest.mark.parametrize("malformed", [b"", b"{", rb'"\ud8"', rb'"\udxyz"', b'"\xed\xa0\x80"', b"NaN"])
def test_what_is_no_json_is_refused_as_ever(malformed: bytes) -> None:
    with pytest.raises(InvalidData, match=r"^data: "):
        codec.decode("data", malformed)


def test_half_a_character_of_ours_is_refused() -> None:
    with pytest.raises(InvalidData, match="surrogates not allowed"):
        codec.encode("data", {"text": "\ud83d"})
