"""Checks of text from untrusted sources."""

from __future__ import annotations

import unicodedata


def has_controls(text: str) -> bool:
    """Whether `text` has a control character, a line break of any kind or half of a surrogate pair."""
    return any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)
