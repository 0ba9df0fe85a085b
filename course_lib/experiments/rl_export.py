"""A folder with all that an engine of reinforcement learning needs to go on with a model.

The model, its tokenizer and chat template in Hugging Face's form; questions as a data set; rewards;
a script for TRL's GRPOTrainer, and one for verl.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from textwrap import wrap

from torch import nn

from course_lib.alignment.grpo import GRPOSettings
from course_lib.alignment.rl_task import Question
from course_lib.check_numbers import check_whole_numbers
from course_lib.experiments.engine_settings import EngineSetting, engine_settings
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.experiments.reward_source import (
    character_classes_source,
    reward_functions_source,
    reward_patterns_source,
)
from course_lib.experiments.run import ExperimentRun
from course_lib.files import markdown_table, read_json, write_atomically, write_json
from course_lib.models.hf_files import save_hf
from course_lib.models.hf_tokenizer import save_hf_tokenizer
from course_lib.tasks.arithmetic import ZERO_REWARDS, draw_arithmetic_question, held_out_arithmetic
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_OF_TEXT, PAD

TEMPLATE_FOLDER = Path(__file__).parent / "rl_engines"
EXPORT_KIND, EXPORT_VERSION = "export for reinforcement learning", 1
SHIPPED_STAGES = ("base", "zero", "r1", "student")


def stage_to_export(name: str) -> tuple[ExperimentRun, str]:
    """Find a model: a shipped one by its name, else a stage's folder of `course_lib.r1 --out`.

    Raises ValueError if there is none.
    """
    if name in SHIPPED_STAGES:
        return SHIPPED_R1, name
    run, stage = ExperimentRun(Path(name).resolve().parent), Path(name).resolve().name
    if not run.done(stage) or not run.path("base/tokenizer").exists():
        raise ValueError(
            f"no model {name!r}: give {', '.join(SHIPPED_STAGES)}, or a stage's folder of a run of"
            " course_lib.r1, as in runs/r1/seed-0/zero"
        )
    return run, stage


def export_rl(
    folder: Path | str,
    model: str = "base",
    n_prompts: int = 2000,
    n_held_out: int = 500,
    settings: GRPOSettings | None = None,
    seed: int = 0,
) -> Path:
    """Write the folder, whole or not at all, and return its path.

    Without `settings`, those by which R1-Zero practised. A folder that is already there is replaced
    if it is such an export and nothing in it was added or changed since; else ValueError.
    """
    check_whole_numbers(n_prompts=n_prompts, n_held_out=n_held_out)
    run, stage = stage_to_export(model)
    settings = settings or GRPOSettings(70)
    rows = engine_settings(settings)
    folder = Path(folder)
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        write_hf_model(run.load(stage), run.tokenizer(), made / "model", settings)
        write_prompts(made, n_prompts, n_held_out, seed)
        write_scripts(made, stage, settings, rows, n_prompts, n_held_out)
        content = {"stage": stage, "settings": settings.as_data(), "files": file_hashes(made)}
        write_json(made / "export.json", EXPORT_KIND, EXPORT_VERSION, content)
        os.chmod(made, 0o755)
        put_in_place(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


# The parts
# --------------------------------------------------------------------------------------------------


def write_hf_model(
    model: nn.Module, tokenizer: Tokenizer, folder: Path, settings: GRPOSettings
) -> None:
    """Write weights, settings, tokenizer and chat template as transformers opens them.

    What ends an answer is told in both places where engines look. The usual top-k of transformers'
    `generate` would cut the distribution: 0 says that it must not.
    """
    save_hf(model, folder)
    save_hf_tokenizer(tokenizer, folder, model.settings.max_seq_len)
    end, pad = (tokenizer.special_tokens[name] for name in (END_OF_TEXT, PAD))
    ids = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": pad}
    config = json.loads((folder / "config.json").read_bytes()) | ids
    sampling = {"do_sample": True, "temperature": settings.temperature, "top_p": 1.0, "top_k": 0}
    sampling |= ids | {"max_new_tokens": settings.max_new_tokens}
    for name, table in {"config.json": config, "generation_config.json": sampling}.items():
        write_atomically(folder / name, json.dumps(table, indent=2).encode())


def write_prompts(folder: Path, n_prompts: int, n_held_out: int, seed: int) -> None:
    """Write the questions: those to practise, drawn as in training, and those to measure by."""
    rng = Random(seed)
    drawn = [draw_arithmetic_question(rng) for _ in range(n_prompts)]
    for split, questions in {"train": drawn, "held_out": held_out_arithmetic(n_held_out)}.items():
        rows = (prompt_row(question, split, i) for i, question in enumerate(questions))
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomically(folder / f"{split}.jsonl", lines.encode())


def prompt_row(question: Question, split: str, index: int) -> dict:
    """Give a question as a row of a data set: for TRL `prompt` and `truth`, the rest for verl.

    Source: TRL, "Dataset formats", prompt-only and conversational; verl, "Prepare Data for
    Post-Training".
    """
    return {
        "prompt": [{"role": "user", "content": question.text}],
        "truth": question.truth.answer,
        "data_source": "from-bytes-to-reasoning/sums",
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": question.truth.answer},
        "extra_info": {"split": split, "index": index},
    }


def write_scripts(
    folder: Path,
    stage: str,
    settings: GRPOSettings,
    rows: Sequence[EngineSetting],
    n_prompts: int,
    n_held_out: int,
) -> None:
    """Fill the templates: scripts, rewards, README."""
    known = {
        "model": stage,
        "steps": settings.steps,
        "updates": settings.n_minibatches * settings.n_epochs,
        "n_prompts": n_prompts,
        "n_held_out": n_held_out,
        "weights": [ZERO_REWARDS["accuracy"], ZERO_REWARDS["format"]],
        "functions": reward_functions_source(),
        "classes": character_classes_source(),
        "patterns": reward_patterns_source(),
        "table": engine_table(rows),
    }
    lists = {"train_trl.py": trl_arguments(rows), "run_verl.sh": verl_arguments(rows)}
    for template in sorted(TEMPLATE_FOLDER.glob("*.txt")):
        name = template.name.removesuffix(".txt")
        text = template.read_text(encoding="utf-8")
        for word, value in (known | {"settings": lists.get(name, "")}).items():
            text = text.replace(f"@{word}@", str(value))
        write_atomically(folder / name, text.encode())


def trl_arguments(rows: Sequence[EngineSetting]) -> str:
    """Write the arguments of GRPOConfig, each below a comment that says what differs."""
    lines, comment = [], " " * 8 + "# "
    for row in rows:
        lines += wrap(
            f"{row.ours}: {row.note}", 100, initial_indent=comment, subsequent_indent=comment
        )
        lines += [f"        {name}={value}," for name, value in row.trl.items()]
    return "\n".join(lines)


def verl_arguments(rows: Sequence[EngineSetting]) -> str:
    """Write the arguments of verl's command line."""
    words = [(name, value) for row in rows for name, value in row.verl.items()]
    return "\n".join(
        f"    {name}={'$steps' if value == 'steps' else value} \\" for name, value in words
    )


def engine_table(rows: Sequence[EngineSetting]) -> str:
    """Lay the settings out side by side, in Markdown."""

    def told(words: dict[str, str]) -> str:
        return "<br>".join(f"`{name.split('.')[-1]}={value}`" for name, value in words.items())

    cells = [[f"`{row.ours}`", told(row.trl), told(row.verl), row.note] for row in rows]
    return markdown_table(["ours", "TRL", "verl", "what differs"], cells)


# The folder
# --------------------------------------------------------------------------------------------------


def file_hashes(folder: Path) -> dict[str, str]:
    """Give the SHA-256 of every file in a folder but export.json: name -> hash.

    What Python leaves of files that it has run is passed over.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != "export.json" and path.suffix != ".pyc"
    }


def check_replaceable(folder: Path) -> None:
    """Raise a ValueError if a folder holds anything but an export as it was written."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise ValueError(f"{folder} is a file: give a folder")
        return
    if not (folder / "export.json").exists():
        raise ValueError(f"{folder} is not empty, and no export: choose another folder")
    written = read_json(folder / "export.json", EXPORT_KIND, EXPORT_VERSION)["files"]
    found = file_hashes(folder)
    if other := sorted(name for name in found if found[name] != written.get(name)):
        raise ValueError(
            f"{folder} holds {', '.join(other[:3])}{' and more' * (len(other) > 3)}, added or"
            " changed since it was written: choose another folder, or move this one"
        )


def put_in_place(made: Path, folder: Path) -> None:
    """Give a finished folder its name; what stood there goes once the new one stands."""
    before = made.with_name(f"{made.name}.before")
    if folder.exists():
        os.rename(folder, before)
    try:
        os.rename(made, folder)
    except OSError:
        if before.exists():
            os.rename(before, folder)
        raise
    shutil.rmtree(before, ignore_errors=True)
