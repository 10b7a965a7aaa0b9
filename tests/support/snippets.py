"""The code blocks of README.md and docs/*.md, as modules that can be type-checked and run.

A comment above a block says how it is to be taken:

    <!-- snippet: continues -->          the text follows that of the block before it on the page
    <!-- snippet: skip, REASON -->       neither checked nor run
    <!-- snippet: file shop/jobs.py -->  the block is that file, for the other blocks of the page
    <!-- snippet: worker shop.jobs -->   a program that runs beside `corral worker shop.jobs`
    <!-- snippet: goes on -->            a program that does not end by itself: SIGTERM once its output is there
    <!-- snippet: output -->             of a block without Python: what the program above it prints
    <!-- snippet: with                   Python that stands before the block and is not shown to readers
    from shop.jobs import greet
    -->

A block with `await` outside of a function is put into one. A block that calls `asyncio.run`, or has
`if __name__`, or is followed by its output, is a program, and runs as it stands. Programs of other libraries are marked ```py, and left alone.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?:^<!-- snippet: (?P<order>[^\n]*?)(?:\n(?P<hidden>.*?))? ?-->\n+)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SHELL = re.compile(r"^(?:    |\$ |    \$ )?((?:corral|python -m engine(?:\.worker)?) .*)$", re.MULTILINE)


@dataclass
class Snippet:
    """A block of Python: where it stands, and its text with that of the blocks that it continues."""

    page: str
    line: int
    text: str
    hidden: str = ""
    file: str | None = None
    output: str | None = None
    worker: str | None = None
    goes_on: bool = False
    before: int = 0
    """Lines of `module` that stand before the block's own first line."""
    module: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        return f"{Path(self.page).stem.replace('-', '_').lower()}_{self.line}"

    def place(self, line: int) -> str:
        """Where a line of `module` stands in the page; the block's first line for one that stands before it."""
        return f"{self.page}:{self.line + max(0, line - 1 - self.before)}"

    @property
    def is_program(self) -> bool:
        return self.output is not None or any(_starts(node) for node in ast.parse(self.module).body)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def snippets(page: Path) -> list[Snippet]:
    """The blocks of Python of a page that are checked, in order. Raises ValueError for an unknown order."""
    found: list[Snippet] = []
    text = page.read_text()
    for match in _BLOCK.finditer(text):
        order, hidden = (match["order"] or "").strip(), match["hidden"] or ""
        line = text.count("\n", 0, match.start("text")) + 1
        if order == "output":
            found[-1].output = match["text"]
            continue
        if match["language"] != "python" or order.startswith("skip, "):
            continue
        made = Snippet(str(page.relative_to(ROOT)), line, match["text"], hidden.rstrip("\n") + "\n" if hidden else "")
        above = made.hidden
        match order.split():
            case [] | ["with"]:
                pass
            case ["continues"]:
                above = found[-1].module + above
            case ["file", path]:
                made.file = path
            case ["worker", target]:
                made.worker = target
            case ["goes", "on"]:
                made.goes_on = True
            case _:
                raise ValueError(f"{made.page}:{line}: {order!r} is not an order; see tests/support/snippets.py")
        made.module, made.before = _module(above, made.text)
        found.append(made)
    return found


def commands(page: Path) -> list[str]:
    """The lines of a page that call our command line, in blocks of a shell."""
    return [match[1] for match in _SHELL.finditer(page.read_text())]


def _module(above: str, text: str) -> tuple[str, int]:
    """The text as a module, and how many lines stand before it."""
    whole = above + text
    try:
        ast.parse(whole)
        compile(whole, "snippet", "exec", dont_inherit=True)
        return whole, above.count("\n")
    except SyntaxError:
        pass
    # `await` at the top: as in a REPL. Without indentation inside strings nothing else changes.
    body = "".join(f"    {line}" if line.strip() else line for line in text.splitlines(keepends=True))
    return f"{above}\n\nasync def snippet() -> None:\n{body}", above.count("\n") + 3


def _starts(node: ast.stmt) -> bool:
    match node:
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="run"))):
            return True
    return False
