"""A headless Chromium for the browser tests, and the book that they open."""

import contextlib
import functools
import os
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from book.chromium import MISSING, find_chromium, running_chromium

ROOT = Path(__file__).parents[2]


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and tells nothing."""

    def log_message(self, *message) -> None:
        pass


@pytest.fixture(scope="module")
def browser():
    """Chromium, closed after each file: while Playwright runs, no other event loop can."""
    if find_chromium() is None:
        answer = pytest.fail if os.environ.get("CI") else pytest.skip
        answer(f"{MISSING}: the browser tests did not run")
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def page(browser):
    """A fresh page. When the test is over: nothing was asked of another machine, and no script on
    the page failed."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    requests, faults = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    page.close()
    assert requests and [url for url in requests if leaves_this_machine(url)] == []
    assert faults == []


def leaves_this_machine(url: str) -> bool:
    """Tell whether opening an address asks another machine for something."""
    parts = urlsplit(url)
    return parts.scheme not in ("file", "data", "blob", "about") and parts.hostname != "127.0.0.1"


@pytest.fixture(scope="session")
def book_run(tmp_path_factory):
    """The run that built the book afresh, and the book's folder."""
    output = tmp_path_factory.mktemp("book")
    command = [sys.executable, ROOT / "book" / "build.py", "--output", output]
    return subprocess.run(command, capture_output=True, text=True), output / "html"


@pytest.fixture(scope="session")
def book(book_run):
    """The book's folder. Faults such as a broken link are one test's business; the others look at
    what is there."""
    return book_run[1]


@pytest.fixture
def web_address_of():
    """A function that puts a folder on a little web server and gives its address."""
    with contextlib.ExitStack() as servers:

        def address(folder) -> str:
            handler = functools.partial(QuietHandler, directory=str(folder))
            server = servers.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            servers.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return f"http://127.0.0.1:{server.server_port}"

        yield address


@pytest.fixture
def web_address(book, web_address_of):
    """The book's address on a little web server."""
    return web_address_of(book)
