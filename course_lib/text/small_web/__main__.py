"""Write the small web to a file, or its numbers to its data card.

python -m course_lib.text.small_web --megabytes 10 --seed 0 --out web.jsonl
python -m course_lib.text.small_web --card
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from course_lib.files import write_atomically
from course_lib.text.small_web.card import write_data_card
from course_lib.text.small_web.web import generate_pages


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.text.small_web", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--megabytes", type=float, default=1.0, help="of clean text, at most 50")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="one page a line, as JSON: url, html, truth")
    parser.add_argument(
        "--card", action="store_true", help="write the measured part of data/small_web/README.md"
    )
    options = parser.parse_args(arguments)
    if options.card == bool(options.out):
        parser.error("say either --out FILE or --card")
    if options.card:
        return write_data_card()
    try:
        lines = [
            json.dumps(asdict(page), ensure_ascii=False)
            for page in generate_pages(options.megabytes, options.seed)
        ]
    except ValueError as error:
        parser.error(str(error))
    write_atomically(options.out, "".join(line + "\n" for line in lines).encode())
    print(f"{len(lines)} pages in {options.out}")


if __name__ == "__main__":
    main()
