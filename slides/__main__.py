"""Make the slides: `python -m slides [NN ...] [--output DIR] [--open]`."""

import argparse
import sys
import webbrowser
from pathlib import Path

from slides.build import build


def main() -> None:
    parser = argparse.ArgumentParser(description="Make one deck of slides per lesson.")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="lessons (all by default)")
    parser.add_argument(
        "--output", type=Path, default=Path("build/slides"), help="folder (default: build/slides)"
    )
    parser.add_argument("--open", action="store_true", help="show them in a browser")
    options = parser.parse_args()
    try:
        start = build(options.output.resolve(), options.numbers)
    except ValueError as error:
        sys.exit(str(error))
    print(f"the slides are in {start}")
    if options.open:
        webbrowser.open(start.as_uri())


if __name__ == "__main__":
    main()
