"""Extension of the API reference: `name: meaning` in a docstring becomes an item of a list, if `name` is a parameter or field."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Parameters(griffe.Extension):
    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        _list(func, {parameter.name for parameter in func.parameters})

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        names = {name for name, member in cls.members.items() if member.is_attribute}
        made = cls.members.get("__init__")
        if isinstance(made, griffe.Function):
            names |= {parameter.name for parameter in made.parameters}
        _list(cls, names)


def _list(thing: griffe.Object, names: set[str]) -> None:
    if thing.docstring is None or not names:
        return
    name = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    start = re.compile(rf"(?:^|(?<=\. )|(?<=; ))((?:{name})(?:, (?:{name}))*): ")
    lines, inside = [], False
    for line in thing.docstring.value.splitlines():
        first, *others = start.split(line)
        if first.startswith("    ") or not line.strip():
            inside = False
            lines.append(line)
            continue
        if first:
            lines.append(f"    {first}" if inside else first)
        for word, text in zip(others[::2], others[1::2], strict=True):
            if not inside:
                lines.append("")
            lines.append(f"- `{word}`: {text}")
            inside = True
    thing.docstring.value = "\n".join(lines)
