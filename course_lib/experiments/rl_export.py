"""A folder with all that an engine of reinforcement learning needs to go on with a model.

The model, its tokenizer and chat template in Hugging Face's form; questions as a data set; rewards;
a script for TRL's GRPOTrainer, and one for verl.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from textwrap import wrap

from course_lib.alignment.grpo import GRPOSettings
from course_lib.alignment.rl_task import Question
from course_lib.check_numbers import check_whole_numbers
from course_lib.experiments.engine_settings import EngineSetting, engine_settings
from course_lib.experiments.model_export import write_hf_model
from course_lib.experiments.reward_source import (
    character_classes_source,
    reward_functions_source,
    reward_patterns_source,
)
from course_lib.experiments.trained_models import find_trained_model
from course_lib.files import markdown_table, write_atomically
from course_lib.folders import export_folder
from course_lib.tasks.arithmetic import ZERO_REWARDS, draw_arithmetic_question, held_out_arithmetic

TEMPLATE_FOLDER = Path(__file__).parent / "rl_engines"
RL_EXPORT_KIND, RL_EXPORT_VERSION = "export for reinforcement learning", 1


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
    settings, folder = settings or GRPOSettings(70), Path(folder)
    trained, rows = find_trained_model(model), engine_settings(settings)
    about = {"stage": trained.name, "settings": settings.as_data()}
    with export_folder(folder, RL_EXPORT_KIND, RL_EXPORT_VERSION, about) as made:
        write_hf_model(
            trained, made / "model", settings.temperature, max_new_tokens=settings.max_new_tokens
        )
        write_prompts(made, n_prompts, n_held_out, seed)
        write_scripts(made, trained.name, settings, rows, n_prompts, n_held_out)
    return folder


# The parts
# --------------------------------------------------------------------------------------------------


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
