"""A headless Chromium, the mock server, and a page that fails its test for a broken policy or a request elsewhere."""

from __future__ import annotations

import shutil
from urllib.parse import urlsplit

import pytest

from llamafile.errors import LlamafileError
from llamafile.page import build

from .mock import Mock

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = """
    --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update
    --disable-sync
""".split()  # noqa: SIM905

PATIENCE = 90_000  # milliseconds, which only a failure takes: the machine may do other things too


@pytest.fixture(scope="module")
def browser():
    """One Chromium for the tests of a file: as long as it runs, asyncio believes that a loop does."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        yield running
        running.close()


@pytest.fixture(scope="session")
def built():
    """The page is built."""
    try:
        return build.build()
    except LlamafileError as problem:
        pytest.skip(f"the page cannot be built: {problem}")


@pytest.fixture
def mock(built):
    server = Mock()
    yield server
    server.stop()


WATCH = """
window.violations = [];
window.attacked = 0;
document.addEventListener("securitypolicyviolation", (event) => {
    window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
"""


class Context:
    """One browser profile in which every request to another host is refused and remembered."""

    def __init__(self, browser, address, **options):
        self.address = address
        self.elsewhere = []
        self.complaints = []
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        self.context.set_default_timeout(PATIENCE)
        self.context.route("**/*", self._route)
        self.context.add_init_script(WATCH)

    def _route(self, route):
        host = urlsplit(route.request.url).netloc
        if host == urlsplit(self.address).netloc:
            route.continue_()
        else:
            self.elsewhere.append(route.request.url)
            route.abort()

    def page(self, path=""):
        """A new tab with the page in it."""
        tab = self.context.new_page()
        tab.on("console", lambda message: self._hear(message))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.goto(self.address + path)
        return tab

    def _hear(self, message):
        # That a server which is away, busy or locked refuses a request, the browser itself writes to its console.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def check(self):
        """Nothing was asked of other hosts, no policy was broken, no script failed."""
        assert not self.elsewhere
        assert not self.complaints
        for tab in self.context.pages:
            assert tab.evaluate("window.violations") == []
            assert tab.evaluate("window.attacked") == 0


@pytest.fixture
def context(browser, mock):
    """A fresh profile at the mock's address; checked when the test has ended."""
    one = Context(browser, mock.address)
    yield one
    one.check()
    one.context.close()


@pytest.fixture
def page(context):
    """A fresh page, ready to be used."""
    return context.page()
