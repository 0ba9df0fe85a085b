"""R1 in the book's pages: the box that a reader types a sum into, and the file of weights that it
reads.

The weights are those of `data/r1`, byte for byte. A page that is opened from a disk may fetch
nothing, but it may add a script: so the stored files become one, in which the weights are base64.
"""

import base64
import json
from pathlib import Path

from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.files import read_json
from course_lib.text.bpe.tokenizer import TOKENIZER_KIND, TOKENIZER_VERSION
from course_lib.training.checkpoint import CHECKPOINT_KIND, CHECKPOINT_VERSION

MARK = "<!-- R1 alive -->"  # Jupyter shows nothing there
FIRST_SUM = "9-4+6+4+2-6"  # held out: R1 has never met it
BOX = Path(__file__).with_name("alive.html")


def write_weights(file: Path) -> None:
    """Write R1's settings, tokenizer and weights as a script that sets `R1Alive.stored`."""
    about = read_json(SHIPPED_R1.path("r1/model"), CHECKPOINT_KIND, CHECKPOINT_VERSION)
    tokenizer = read_json(SHIPPED_R1.path("base/tokenizer"), TOKENIZER_KIND, TOKENIZER_VERSION)
    weights = (SHIPPED_R1.folder / "r1" / about["weights"]["file"]).read_bytes()
    stored = {
        "settings": about["settings"],
        "tokenizer": tokenizer,
        "weights": base64.b64encode(weights).decode(),
    }
    file.write_text(
        "window.R1Alive = window.R1Alive || {};\n"
        f"window.R1Alive.stored = {json.dumps(stored)};\n",
        encoding="utf-8",
    )


def with_box(page: str, static: str) -> str:
    """Put the box where a page has the mark; `static` leads from the page to the static files."""
    if MARK not in page:
        return page
    about = read_json(SHIPPED_R1.path("r1/model"), CHECKPOINT_KIND, CHECKPOINT_VERSION)
    n_bytes = about["weights"]["bytes"]
    parameters = sum(p.numel() for p in SHIPPED_R1.load("r1").parameters())
    told = {
        "STATIC": static,
        "SUM": FIRST_SUM,
        "PARAMETERS": f"{parameters:,}",
        "MEGABYTES": f"{n_bytes * 4 / 3 / 1e6:.1f}",  # base64 has four letters for three bytes
    }
    box = BOX.read_text(encoding="utf-8").strip()
    for name, value in told.items():
        box = box.replace(f"%{name}%", value)
    return page.replace(MARK, box)
