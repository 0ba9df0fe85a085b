"""Turn off JupyterLab's news pop-up and its look for updates, in this Python's environment only."""

import json
import sys
from pathlib import Path

SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}
}

if __name__ == "__main__":
    path = Path(sys.prefix, "share/jupyter/lab/settings/overrides.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(SETTINGS, indent=1) + "\n")
