"""The exported script, run by TRL, beside our own loop with the same settings: reward curves.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.trl_curve --out runs/trl --keep data/trl

Both start from the shipped base and practise sums; what each has learnt is measured by our code, on
held-out sums, after TRL's model was read back. About four minutes of one processor for a seed. What
is done already is not done again.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ |= {"COURSE_QUIET": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

from torch import nn  # noqa: E402

from course_lib.alignment.grpo import GRPOSettings, train_grpo  # noqa: E402
from course_lib.experiments.r1 import SHIPPED_R1  # noqa: E402
from course_lib.experiments.rl_export import export_rl  # noqa: E402
from course_lib.files import markdown_table, write_atomically  # noqa: E402
from course_lib.models.hf_files import load_hf  # noqa: E402
from course_lib.tasks.arithmetic import ZERO_REWARDS, arithmetic_task, evaluate_arithmetic

N_HELD_OUT_SUMS = 1000
# theirs -> ours, of what both measure while they learn
MEASURES = {
    "reward": "reward",
    "rewards/accuracy_reward/mean": "accuracy",
    "rewards/format_reward/mean": "format",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "cut off",
    "kl": "kl",
    "entropy": "entropy",
}


def held_out_measures(model: nn.Module) -> dict[str, float]:
    """Measure a model on sums that it has not practised, at temperature 1."""
    found = evaluate_arithmetic(model, SHIPPED_R1.tokenizer(), N_HELD_OUT_SUMS)
    return {name: found[name] for name in ("accuracy", "format", "length")}


def run_trl(folder: Path, steps: int, seed: int) -> dict:
    """Run the exported script, unless that is done, and read its log and its model."""
    out = folder / f"trl-{seed}"
    if not (out / "history.json").exists():
        command = [sys.executable, "-m", "accelerate.commands.launch"]
        command += ["--config_file", "accelerate.yaml", "train_trl.py", "--n-held-out", "100"]
        command += ["--steps", str(steps), "--seed", str(seed), "--out", str(out.resolve())]
        subprocess.run(command, cwd=folder / "export", check=True, stdout=subprocess.DEVNULL)
    log = json.loads((out / "history.json").read_text())
    rows = [row for row in log if "reward" in row]
    curves = {ours: [row[theirs] for row in rows] for theirs, ours in MEASURES.items()}
    return curves | {"held out": held_out_measures(load_hf(out / "model"))}


def run_ours(steps: int, seed: int) -> dict:
    """Practise the same task by our loop."""
    model, task = SHIPPED_R1.load("base"), arithmetic_task(ZERO_REWARDS)
    history = train_grpo(model, SHIPPED_R1.tokenizer(), task, GRPOSettings(steps), seed=seed)
    curves = {name: history.measures[name] for name in MEASURES.values()}
    return curves | {"held out": held_out_measures(model)}


def curve_table(runs: list[dict]) -> str:
    """Say what came out, a row per run."""
    rows = []
    for run in runs:
        held_out = run["held out"]
        rewards = [f"{run['reward'][i]:.2f}" for i in (0, 9, 19, -1) if i < len(run["reward"])]
        shares = [f"{held_out[name]:.1%}" for name in ("accuracy", "format")]
        rows.append([run["engine"], run["seed"], ", ".join(rewards), *shares])
    return markdown_table(
        [
            "GRPO by",
            "seed",
            "reward of steps 1, 10, 20, last",
            "right on held-out sums",
            "well-formed",
        ],
        rows,
    )


def main(arguments: list[str] | None = None) -> str:
    """Run what is missing, keep the curves, and return the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/trl"))
    parser.add_argument("--keep", type=Path, help="folder for runs.json (default: --out)")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args(arguments)
    path = (args.keep or args.out) / "runs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (args.out / "export").exists():
        export_rl(args.out / "export", settings=GRPOSettings(args.steps))
    runs = json.loads(path.read_text()) if path.exists() else []
    for seed in range(args.seeds):
        for engine in ("ours", "TRL"):
            if any((run["engine"], run["seed"]) == (engine, seed) for run in runs):
                continue
            made = (
                run_ours(args.steps, seed)
                if engine == "ours"
                else run_trl(args.out, args.steps, seed)
            )
            runs.append({"engine": engine, "seed": seed, "steps": args.steps} | made)
            write_atomically(path, json.dumps(runs, indent=1).encode())
    return curve_table(runs)


if __name__ == "__main__":
    print(main())
