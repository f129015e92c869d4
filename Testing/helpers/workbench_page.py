"""The browser workbench as a user has it: a server process, a headless Chromium, and the real mouse."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trame_slicer", reason='the browser workbench is not installed: pip install -e ".[web]"')
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SIZE = {"width": 1440, "height": 860}
SYNTHESIS_MS = 300_000
PATIENCE = 60  # seconds that a busy computer may take to show what was done


@contextmanager
def workbench(*arguments: str | Path) -> Iterator[str]:
    """``maisi web`` with these arguments in a process of its own; gives its link."""
    command = [sys.executable, "-m", "maisi", "web", *map(str, arguments)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    try:
        while not (link := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", said)):
            line = server.stdout.readline()
            if not line:
                if "OpenGL is missing" in said:
                    pytest.skip(said)
                pytest.fail(f"maisi web has ended: {said}")
            said += line
        yield link[0]
    finally:
        server.terminate()
        server.wait(timeout=20)


@contextmanager
def chromium() -> Iterator[playwright.Browser]:
    """A headless browser, or a skipped test where there is none."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class WorkbenchPage:
    """One open window."""

    def __init__(self, browser: playwright.Browser, link: str, affine: np.ndarray, shape: tuple[int, ...]) -> None:
        """``affine`` and ``shape``: of the case, whose axes are R, A and S."""
        self.page = browser.new_page(viewport=SIZE)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(link)
        self.page.wait_for_selector("#synthesize", timeout=1000 * PATIENCE)
        self._extent = np.diag(affine)[:3] * shape
        self._center = affine[:3, 3] + np.diag(affine)[:3] * (np.array(shape) - 1) / 2
        self.page.wait_for_function(
            "document.querySelectorAll('.layout-grid-item img').length >= 3", timeout=1000 * PATIENCE
        )
        self.rest()

    def rest(self, seconds: float = 1.5) -> None:
        """Give the views time to be drawn."""
        time.sleep(seconds)

    def click(self, selector: str) -> None:
        self.page.click(selector)
        self.rest(0.5)

    def at(self, ras: np.ndarray) -> tuple[float, float]:
        """Where RAS mm are in the axial view, which shows everything."""
        box = self.page.locator(".layout-grid-item").first.bounding_box()
        scale = min(box["width"] / self._extent[0], box["height"] / self._extent[1])
        right, front = (ras - self._center)[:2] * scale
        return box["x"] + box["width"] / 2 - right, box["y"] + box["height"] / 2 - front

    def clickAt(self, ras: np.ndarray) -> None:
        self.page.mouse.move(*self.at(ras))
        self.rest(0.3)
        self.page.mouse.click(*self.at(ras))

    def drag(self, start: np.ndarray, end: np.ndarray) -> None:
        self.page.mouse.move(*self.at(start))
        self.rest(0.3)
        self.page.mouse.down()
        self.page.mouse.move(*self.at(end), steps=4)
        self.rest(0.3)
        self.page.mouse.up()

    def tumors(self) -> dict[str, str]:
        """Name -> size of the lesions in the list."""
        items = self.page.locator(".rows .v-list-item").all_inner_texts()
        return dict(item.split("\n")[:2] for item in items)

    def volume(self, name: str) -> float:
        """Milliliters of a lesion, as the list tells."""
        found = re.search(r"([\d.]+) ml", self.tumors().get(name, ""))
        return float(found[1]) if found else 0.0

    def waitFor(self, condition: Callable[[], bool]) -> None:
        """Until the page shows what is awaited."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"the list still says {self.tumors()}"
            time.sleep(0.1)

    def waitUntilStill(self) -> None:
        """Until the axial view is drawn as it stays for two seconds."""
        shown = b""
        while shown != (shown := self.picture()):
            self.rest(2)

    def waitForVolume(self, name: str, condition: Callable[[float], bool]) -> float:
        """The volume of a lesion once it meets a condition."""
        self.waitFor(lambda: condition(self.volume(name)))
        return self.volume(name)

    def waitForTumors(self, count: int) -> dict[str, str]:
        """The lesions in the list once there are so many, all with voxels."""
        self.waitFor(lambda: len(self.tumors()) == count and all(map(self.volume, self.tumors())))
        return self.tumors()

    def synthesize(self) -> str:
        """Press the button and wait for the end; gives the sentence about it."""
        self.click("#synthesize")
        self.page.wait_for_selector("#progress", timeout=1000 * PATIENCE)
        self.page.wait_for_selector("#progress", state="detached", timeout=SYNTHESIS_MS)
        self.rest()
        return self.page.inner_text("#outcome")

    def picture(self) -> bytes:
        """The axial view as PNG."""
        return self.page.locator(".layout-grid-item").first.screenshot()

    def download(self, name: str, folder: Path) -> Path:
        self.click("#download")
        with self.page.expect_download(timeout=60_000) as download:
            self.page.locator(f"[id='get-{name}']").click()
        self.rest(0.5)
        download.value.save_as(folder / name)
        return folder / name
