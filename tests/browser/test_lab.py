"""A newcomer's first minutes: JupyterLab opens notebook 00, runs all of it without an error, and
its figures move."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from course_lib.lab import course_map
from tests.browser.moving import assert_slider_moves

FIRST = course_map.lessons()[0]
PATIENCE = 900_000  # milliseconds; the notebook trains a model

RUN_ALL = """async () => {
    const app = window.jupyterapp, panel = app.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
    await app.commands.execute('notebook:run-all-cells');
    return panel.content.widgets
        .filter(cell => cell.model.type == 'code' && cell.model.sharedModel.source.trim())
        .map(cell => ({count: cell.model.executionCount,
                       errors: cell.model.outputs.toJSON()
                           .filter(output => output.output_type == 'error')
                           .map(output => output.ename + ': ' + output.evalue)}));
}"""


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab of its own settings, on a copy of the notebooks; its address."""
    shutil.copytree(
        course_map.NOTEBOOKS, tmp_path / "notebooks", ignore=shutil.ignore_patterns("src", ".*")
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folders = [
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
    ]
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--allow-root",
    ]
    command += [
        "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True",
        f"--ServerApp.root_dir={tmp_path}",
    ]
    with (tmp_path / "server.log").open("w") as log:
        environment = os.environ | {name: str(tmp_path / name) for name in [*folders, "IPYTHONDIR"]}
        del environment["COURSE_QUIET"]  # a newcomer sees the progress bar
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/api", server)
        yield f"http://127.0.0.1:{port}/lab/tree/notebooks"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(url, server, seconds=90):
    for _ in range(seconds * 4):
        try:
            return urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert server.poll() is None, f"the server ended with status {server.returncode}"
            time.sleep(0.25)
    pytest.fail(f"no answer from {url} in {seconds} s")


@pytest.mark.timeout(1200)
@pytest.mark.skipif(not FIRST.built, reason="notebook 00 is not there")
def test_first_notebook_runs_and_its_figure_moves(page, lab):
    page.set_default_timeout(PATIENCE)
    page.goto(f"{lab}/{FIRST.file}?reset")
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context?.isReady")
    cells = page.evaluate(RUN_ALL)
    assert len(cells) > 5 and [error for cell in cells for error in cell["errors"]] == []
    assert [cell["count"] for cell in cells] == list(range(1, len(cells) + 1))

    assert_slider_moves(page, page.locator(".jp-OutputArea .widget-slider .noUi-handle").first)
    assert "official Jupyter news" not in page.inner_text("body")
