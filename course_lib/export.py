"""Take a trained model out of the course: for transformers, or for llama.cpp.

    python -m course_lib.export runs/poet-hf --model runs/poet         # a run of course_lib.train
    python -m course_lib.export runs/r1-hf --model runs/r1/seed-0/r1   # a stage of course_lib.r1
    python -m course_lib.export runs/r1-gguf --model r1 --to gguf      # the shipped R1
    python -m course_lib.export runs/bert-hf --model bert              # one of BERT's family

The folder's README says how to open it; the book's page "Your model elsewhere" says more.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from course_lib.experiments.family_export import FAMILY_MODELS
from course_lib.experiments.model_export import EXPORT_FORMS, export_model
from course_lib.experiments.trained_models import SHIPPED_MODELS
from course_lib.models.gguf_export import GGUF_DTYPES
from course_lib.models.hf_tokenizer import HF_CHAT_TEMPLATE


def model_export_parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(
        prog="python -m course_lib.export", description=__doc__, formatter_class=layout
    )
    p.add_argument("folder", type=Path, metavar="DIR", help="the folder to write")
    p.add_argument(
        "--model",
        default="r1",
        metavar="MODEL",
        help=f"{', '.join(SHIPPED_MODELS)}; of BERT's family {', '.join(FAMILY_MODELS)}; or"
        " the folder of a run or of its stage (default: r1)",
    )
    p.add_argument(
        "--to",
        default="hf",
        choices=EXPORT_FORMS,
        help="hf: transformers, TRL, lm_eval; gguf: llama.cpp, Ollama, LM Studio (default: hf)",
    )
    p.add_argument("--template", type=Path, metavar="FILE", help="a chat template of your own")
    p.add_argument(
        "--dtype", default="f32", choices=GGUF_DTYPES, help="of GGUF's matrices (default: f32)"
    )
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the folder. Returns the exit status."""
    args = model_export_parser().parse_args(arguments)
    try:
        template = args.template.read_text(encoding="utf-8") if args.template else HF_CHAT_TEMPLATE
        folder = export_model(args.folder, args.model, args.to, template, args.dtype)
    except (ValueError, OSError, ImportError) as error:
        print(f"course_lib.export: {error}", file=sys.stderr)
        return 1
    print(f"{folder} is written; {folder / 'README.md'} says how to go on.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
