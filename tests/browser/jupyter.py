"""A JupyterLab of a newcomer's own for a browser test."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def newcomers_environment(folder: Path) -> dict[str, str]:
    """The environment of somebody whose settings, trust and history are all in this folder."""
    names = ["CONFIG_DIR", "RUNTIME_DIR", "DATA_DIR"]
    folders = [f"JUPYTER_{name}" for name in names] + ["IPYTHONDIR"]
    folders += ["JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"]
    paths = {name: str(folder / name.removeprefix("JUPYTER_")) for name in folders}
    environment = os.environ | paths
    environment.pop("COURSE_QUIET", None)  # a newcomer sees the progress bar
    return environment


@contextmanager
def running_lab(root: Path, environment: dict[str, str], log: Path) -> Iterator[str]:
    """Let JupyterLab serve a folder; give the address before a notebook's path."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--allow-root", "--IdentityProvider.token="]
    command += ["--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={root}"]
    with log.open("w") as stream:
        server = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        wait_for(f"http://127.0.0.1:{port}/api", server)
        yield f"http://127.0.0.1:{port}/lab/tree"
    finally:
        server.terminate()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:  # told to stop while a kernel starts, it may never
            server.kill()
            server.wait()


def wait_for(url: str, server: subprocess.Popen, seconds: int = 180) -> None:
    """Wait until the server answers."""
    for _ in range(seconds * 4):
        try:
            return urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert server.poll() is None, f"the server ended with status {server.returncode}"
            time.sleep(0.25)
    pytest.fail(f"no answer from {url} in {seconds} s")
