"""bull-board on our queues in a real browser: starts its Node server and chromium, reads its page as text."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote, unquote, urlsplit

import pytest
from playwright.async_api import BrowserContext, Locator, Page, Response, async_playwright, expect

from tests.interop.side import HERE, PATIENCE, NotInstalled, connection, fetched, modules, need

PACKAGES = {
    "@bull-board/api": "9.10.2",
    "@bull-board/ui": "9.10.2",
    "@bull-board/express": "9.10.1",
    "express": "5.3.0",
}
BROWSERS = ("chromium-headless-shell", "chromium")
"""Debian's packages and their programs. The first is smaller, and all that is needed."""
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The page asks for fonts from elsewhere; a test talks to this machine alone.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
STILL = """
    addEventListener("DOMContentLoaded", () => {
        const style = document.createElement("style");
        style.textContent = "*, ::before, ::after { transition: none !important; animation: none !important }";
        document.head.append(style);
    });
"""
"""Half of a test's time would go into dialogs that slide in."""

expect.set_options(timeout=PATIENCE * 1000)


def need_board(*versions: str) -> str:
    """The browser's program. Skips the test, and says why, where this machine lacks it or Node's half."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no chromium on PATH to see bull-board with: apt-get install {BROWSERS[0]}")
    need(*versions)
    try:
        _packages()
    except NotInstalled as error:
        pytest.skip(str(error))
    return found


@asynccontextmanager
async def serving(version: str, url: str, queues: Sequence[str]) -> AsyncIterator[str]:
    """bull-board with that BullMQ, on loopback; its address."""
    process = await asyncio.create_subprocess_exec(
        "node", str(HERE / "node" / "board.js"), json.dumps({"connection": connection(url), "queues": list(queues)}),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"NODE_PATH": f"{modules(version)}{os.pathsep}{_packages()}"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            told = json.loads(await process.stdout.readline())
        yield f"http://127.0.0.1:{told['port']}"
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def browsing(program: str) -> AsyncIterator[BrowserContext]:
    """A browser with a new profile, for as long as the block lasts. Its pages share what it has loaded."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        context = await browser.new_context(reduced_motion="reduce")
        await context.add_init_script(STILL)
        yield context
        await browser.close()


class Board:
    """The page, for a reader who clicks. `troubles` gathers what a reader would not see: errors of the page and refusals."""

    def __init__(self, page: Page, address: str, version: str) -> None:
        self.page = page
        self.version = version
        self.troubles: list[str] = []
        self._address = address
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("response", self._note)

    def _note(self, response: Response) -> None:
        if response.status >= 400:
            self.troubles.append(f"{response.status} {response.request.method} {response.url}")

    @property
    def has_paused(self) -> bool:
        """Whether that BullMQ knows the list of a paused queue; since 6 it does not."""
        return self.version.startswith("5")

    async def open(self, path: str = "/") -> None:
        """Go to a page, and see it filled."""
        await self.page.goto(self._address + path)
        await self.page.locator("main").locator("a, table").first.wait_for()

    async def open_queue(self, queue: str, state: str | None = None) -> None:
        await self.open(f"/queue/{queue}" + (f"?status={state}" if state else ""))

    async def open_job(self, queue: str, job_id: str, state: str = "") -> None:
        await self.open(f"/queue/{queue}/{quote(job_id, safe='')}" + (f"?status={state}" if state else ""))

    async def counts(self) -> dict[str, int]:
        """The number on each tab; a tab without one has no jobs."""
        tabs = await self.page.locator("main ul").first.locator("a").all_inner_texts()
        found = [re.fullmatch(r"(.+?)\s*(\d*)", text, re.DOTALL) for text in tabs]
        return {tab[1].strip().lower(): int(tab[2] or 0) for tab in found[1:] if tab}

    async def job_ids(self, queue: str) -> list[str]:
        """The jobs of the list that is open, from the top."""
        links = self.page.locator(f"main a[href^='/queue/{queue}/']")
        paths = [urlsplit(await link.get_attribute("href") or "").path for link in await links.all()]
        return [unquote(path.rpartition("/")[2]) for path in paths]

    async def turn_to(self, queue: str, state: str) -> list[str]:
        """The jobs of another state's list."""
        await self.page.locator(f"main a[href='/queue/{queue}?status={state}']").click()
        await self.page.locator(f"main a[href^='/queue/{queue}/'][href$='status={state}']").first.wait_for()
        return await self.job_ids(queue)

    async def tab(self, name: str) -> Locator:
        """What a job's tab shows."""
        await self.page.get_by_role("tab", name=name).click()
        return self.page.get_by_role("tabpanel", name=name)

    def icon(self, drawing: str, job_id: str | None = None) -> Locator:
        """The button with that drawing, of the open job or of one in the list: bull-board gives them no other name."""
        place = self.page.locator("main")
        if job_id is not None:
            # The nearest box around the job's link that has buttons too.
            place = place.locator(f"a[href*='/{quote(job_id, safe='')}?']").locator("xpath=ancestor::div[.//ul][1]")
        return place.locator(f"button:has(.lucide-{drawing})")

    async def choose(self, item: str) -> None:
        """An entry of the queue's menu."""
        await self.page.locator("main button[aria-haspopup=menu]").first.click()
        await self.page.get_by_role("menuitem", name=item).click()

    async def fill(self, *texts: str) -> None:
        """Write into the editors of the dialog that is open, the first ones in turn; they have no names.

        An editor that is still being set up drops what was written, so all are read once more and filled again if need be.
        """
        editors = self.page.get_by_role("dialog").get_by_role("textbox")
        async with asyncio.timeout(PATIENCE):
            while True:
                for box, text in enumerate(texts):
                    await editors.nth(box).fill(text)
                await self.page.evaluate(_TWO_FRAMES)
                shown = [await editors.nth(box).evaluate(_CONTENT) for box in range(len(texts))]
                if shown == list(texts):
                    return

    async def press(self, button: str = "Confirm") -> None:
        """Press a button that changes something, and see it answered."""
        async with self.page.expect_response(lambda answer: answer.request.method != "GET") as answer:
            await self.page.get_by_role("button", name=button, exact=True).click()
        assert (await answer.value).ok


_TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
_CONTENT = "editor => ('value' in editor ? editor.value : editor.innerText).trim()"


def _packages() -> str:
    return str(fetched(f"board-{PACKAGES['@bull-board/api']}", PACKAGES))
