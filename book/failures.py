"""The numbers of the page on what failed, read from the stored runs."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.scaling_report import read_prediction


def failure_numbers(data: Path = DATA_FOLDER) -> dict[str, str]:
    """Give what stands for the marks of the page; three numbers are three seeds."""
    return law_numbers(data) | practice_numbers(data) | gym_numbers(data) | student_numbers(data)


def law_numbers(data: Path) -> dict[str, str]:
    """What was predicted for a budget beyond the grid, in nats per token."""
    law = read_prediction(data / "scaling/prediction.json")
    low, high = law["interval"]
    numbers = {"LOSS": law["loss"], "LOW": low, "HIGH": high, "VALLEYS": law["valleys"]["loss"]}
    return {f"LAW_{name}": f"{number:.3f}" for name, number in numbers.items()}


def practice_numbers(data: Path) -> dict[str, str]:
    """Sums right after practice with a strict reward, and with a verifier that has a hole."""
    runs = json.loads((data / "grpo/runs.json").read_text(encoding="utf-8"))
    strict = {"OURS": "none", "CLIP": "clip", "SPREAD": "spread"}
    strict |= {"AVERAGE": "average", "BOTH": "average + spread"}
    right = {
        f"STRICT_{mark}": of_seeds(
            run["after"]["accuracy"] for run in found(runs, table="strict", name=name)
        )
        for mark, name in strict.items()
    }
    holes = found(runs, table="verifiers", name="with a hole")
    mended = found(runs, table="verifiers", name="mended")
    return right | {
        "HOLE_PAID": of_seeds(sum(run["curves"]["reward"][-5:]) / 5 for run in holes),
        "HOLE_RIGHT": of_seeds(run["after"]["accuracy"] for run in holes),
        "HOLE_MENDED": of_seeds(run["after"]["accuracy"] for run in mended),
    }


def gym_numbers(data: Path) -> dict[str, str]:
    """What a verifier of others paid, and what was right."""
    runs = json.loads((data / "gym/runs.json").read_text(encoding="utf-8"))
    coins = found(runs, recipe="coin_flip")
    return {
        "COIN_BEFORE": of_seeds(run["before"]["score"] for run in coins),
        "COIN_AFTER": of_seeds(run["end"]["score"] for run in coins),
        "COIN_RIGHT": of_seeds(run["end"]["right"] for run in coins),
    }


def student_numbers(data: Path) -> dict[str, str]:
    """Sums right of students that read few answers, once and three times as long."""
    runs = json.loads((data / "distillation/students.json").read_text(encoding="utf-8"))
    named = {"FEW": "256", "MANY": "1024", "LONGER": "256, more steps"}
    return {
        f"STUDENT_{mark}": of_seeds(
            run["accuracy"] for run in found(runs, table="answers", name=name)
        )
        for mark, name in named.items()
    }


def found(runs: Iterable[Mapping], **wanted: str) -> list[Mapping]:
    """Give the runs with these names, seed by seed. Raises ValueError if there is none."""
    kept = [run for run in runs if all(run.get(key) == name for key, name in wanted.items())]
    if not kept:
        raise ValueError(f"no run has {wanted}")
    return sorted(kept, key=lambda run: run["seed"])


def of_seeds(shares: Iterable[float]) -> str:
    """Write shares, one for each seed, in per cent.

    >>> of_seeds([0.342, 0.6, 0.57])
    '34, 60, 57'
    """
    return ", ".join(f"{100 * share:.0f}" for share in shares)
