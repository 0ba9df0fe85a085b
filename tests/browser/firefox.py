"""A headless Firefox for the browser tests, driven by Mozilla's own protocol, Marionette.

Playwright drives a Firefox of its own build only, which no package index carries; this is the one
that the machine brings.
"""

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path

from marionette_driver.by import By
from marionette_driver.marionette import Marionette

NAMES = ("firefox-esr", "firefox")
# Nothing can leave the machine: whatever is not on it is asked of a proxy that is not there.
PREFERENCES = {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.no_proxies_on": "127.0.0.1",
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
}
# What the console holds of pages' scripts: errors that are no warnings (flag 1).
FAULTS = """const found = Services.console.getMessageArray().filter(message =>
        message instanceof Ci.nsIScriptError && !(message.flags & 1)
        && /^(file|http):/.test(message.sourceName))
    .map(message => `${message.sourceName}:${message.lineNumber} ${message.errorMessage}`);
Services.console.reset();
return found;"""


def find_firefox() -> str | None:
    """The path of the machine's Firefox."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def write_profile(folder: Path, port: int) -> None:
    """Write a new profile whose Firefox listens to Marionette at a port."""
    lines = []
    for name, value in (PREFERENCES | {"marionette.port": port}).items():
        written = str(value).lower() if isinstance(value, bool) else value
        written = f'"{value}"' if isinstance(value, str) else written
        lines.append(f'user_pref("{name}", {written});')
    (folder / "user.js").write_text("\n".join(lines), encoding="utf-8")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running_firefox(profile: Path):
    """A running Firefox with an empty profile, as `Firefox`; it ends with the block."""
    port = free_port()
    write_profile(profile, port)
    flags = ["--headless", "--marionette", "--remote-allow-system-access", "--no-remote"]
    command = [find_firefox(), *flags, "--profile", profile]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Firefox(port)
    finally:
        process.terminate()
        process.wait()


class Firefox:
    """One window: open pages, run scripts in them, press keys."""

    def __init__(self, port: int, patience_s: float = 60.0):
        self.driver, begun = Marionette("127.0.0.1", port=port), time.monotonic()
        while True:
            try:
                self.driver.start_session()
                break
            except OSError:
                if time.monotonic() - begun > patience_s:
                    raise
                time.sleep(0.2)
        self.driver.timeout.script = 300
        self.driver.set_window_rect(width=1280, height=1000)

    def open(self, url: str) -> None:
        self.driver.navigate(url)

    def faults(self) -> list[str]:
        """The errors of pages' scripts since the last call."""
        with self.driver.using_context("chrome"):
            return self.driver.execute_script(FAULTS)

    def call(self, function: str, *arguments):
        """Return what a JavaScript function, which may be asynchronous, gives in the page."""
        script = f"""const [done, ...given] = [...arguments].reverse();
            Promise.resolve(({function})(...given.reverse())).then(
                value => done({{value}}), error => done({{error: String(error)}}));"""
        answer = self.driver.execute_async_script(script, script_args=arguments, sandbox=None)
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def wait_for(self, function: str, *arguments, patience_s: float = 20.0):
        """Call a function until it gives something true."""
        begun = time.monotonic()
        while not (value := self.call(function, *arguments)):
            assert time.monotonic() - begun < patience_s, f"not within {patience_s} s: {function}"
            time.sleep(0.05)
        return value

    def all(self, selector: str, within=None) -> list:
        """The elements that a CSS selector names, on the page or within one of them."""
        return (within or self.driver).find_elements(By.CSS_SELECTOR, selector)
