"""A real server and a real browser: Debian's Chromium, driven by Playwright.

Without a browser these tests are skipped, each by its name; with ``CI=true`` that is a failure, since a machine that
is there to run them must not quietly leave them out.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from visrec.config import Settings

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium():
    """A running browser."""
    path = os.environ.get("VISREC_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = "no browser here: `apt install chromium`, or name one in VISREC_CHROMIUM"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def places(tmp_path_factory) -> Settings:
    """Folders for buckets (empty), runs and cache of all browser tests.

    VISREC_E2E names a folder to keep them in, so that single chapters can be run again without training again.
    """
    root = Path(os.environ.get("VISREC_E2E") or tmp_path_factory.mktemp("e2e"))
    (root / "buckets").mkdir(exist_ok=True)
    settings = Settings(buckets=(root / "buckets",), runs=str(root / "runs"), cache=root / "cache")
    yield settings
    _end_trainings(settings)


def _end_trainings(settings: Settings) -> None:
    """A training outlives the server by design; not these tests."""
    from visrec.runs import jobs
    from visrec.runs.record import open_runs

    for run in open_runs(settings).list():
        if not run.status().finished:
            jobs.cancel(run)


class Server:
    """``visrec app`` on a free port; can be stopped and started again on the same one."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self.log = settings.cache.parent / "server.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.seconds = self.start()

    def start(self) -> float:
        """Start; returns the seconds until it answers."""
        from visrec.runs.jobs import environment

        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "visrec", "app", "--port", str(self.port), "--address", "127.0.0.1"],
                env=environment(self._settings), stdout=log, stderr=log, cwd=ROOT,
            )  # fmt: skip
        while time.monotonic() - began < 60:
            assert self.process.poll() is None, "the server ended by itself"
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1):
                    return time.monotonic() - began
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server did not come up within a minute")

    def stop(self) -> None:
        """End the server; whatever trains goes on."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)

    def loaded(self, library: str) -> bool:
        """Whether a shared library of that name is mapped into the server."""
        return library in Path(f"/proc/{self.process.pid}/maps").read_text()


@pytest.fixture(scope="session")
def server(places, chromium) -> Server:
    """The dashboard over `places`."""
    running = Server(places)
    yield running
    running.stop()


class Visitor:
    """One browser window on the dashboard."""

    def __init__(self, browser, server: Server, *, width: int = 1280, height: int = 900, scheme: str = "light"):
        self.url, self._log = server.url, server.log
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page = context.new_page()
        self.page.set_default_timeout(45_000)
        self.width, self.height, self.scheme = width, height, scheme

    def open(self, path: str) -> None:
        """Go to a page by its address, and wait until it is drawn."""
        self.page.goto(f"{self.url}/{path}")
        self.settle()

    def settle(self) -> None:
        """Wait until nothing runs any more."""
        self.page.wait_for_selector("h1")
        self.page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=120_000)
        self.page.wait_for_timeout(400)

    def text(self) -> str:
        """All that the page says, without the sidebar."""
        return self.page.locator("[data-testid=stMain]").inner_text()

    def check(self) -> None:
        """No traceback, no fault of ours, no error, nothing wider than the window."""
        assert 0 == self.page.locator("[data-testid=stException]").count()
        assert "(reference" not in self.text(), self._log.read_text(errors="replace")[-3000:]
        errors = self.page.locator("[data-testid=stAlertContentError]").all_inner_texts()
        assert errors == []
        wide = "document.querySelector('[data-testid=stMain]')"
        assert self.page.evaluate(f"{wide}.scrollWidth <= {wide}.clientWidth + 1"), "the page is wider than the window"

    def keep(self, name: str) -> None:
        """A screenshot of the whole page, as a build product."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        tall = self.page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        self.page.set_viewport_size({"width": self.width, "height": min(int(tall) + 20, 6000)})
        self.page.wait_for_timeout(700)
        self.page.screenshot(path=str(SCREENSHOTS / f"{name}-{self.width}-{self.scheme}.png"))
        self.page.set_viewport_size({"width": self.width, "height": self.height})

    def press(self, name: str) -> None:
        """Press the button of that name."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def choose(self, field: str, value: str) -> None:
        """Choose a value in a list of the sidebar, and see it chosen.

        A page that is drawn anew closes its lists, and on a busy machine Streamlit's list still scrolls under the mouse
        when it is pressed, which chooses nothing: a person would click once more, and so does this.
        """
        place = self.page.get_by_test_id("stSidebar").get_by_test_id("stMultiSelect").filter(has_text=field)
        option = self.page.get_by_role("option", name=value, exact=True)
        for _ in range(6):
            place.locator("input").click()
            try:
                option.click(timeout=5_000)
                place.get_by_text(value, exact=True).wait_for(timeout=5_000)
                return
            except Exception:
                self.page.keyboard.press("Escape")
        raise AssertionError(f"the list {field} does not offer {value}: {place.inner_text()}")

    def close(self) -> None:
        """Close the window."""
        self.page.context.close()


@pytest.fixture
def visit(chromium, server):
    """Open windows: ``visit()``, ``visit(width=400, scheme="dark")``; closed at the end."""
    windows = []

    def one(**options) -> Visitor:
        windows.append(Visitor(chromium, server, **options))
        return windows[-1]

    yield one
    for window in windows:
        window.close()
