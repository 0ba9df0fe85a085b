"""Training and measuring mixtures of experts, and the record of it that lesson 20 draws.

`python -m course_lib.experiments.expert_runs --out data/experts` trains all and keeps the record;
what stands in it already is not trained again.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import torch
from torch import nn

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.experts import (
    BALANCE,
    DEVICES,
    END_OF_PAGE,
    EXPERT_BATCH,
    EXPERT_CONTEXT,
    EXPERT_RUNS,
    EXPERT_STEPS,
    MUON_RATES,
    ExpertRun,
    PageCorpus,
    page_corpus,
)
from course_lib.experiments.ladder_runs import mean_by_eighths
from course_lib.experiments.run_records import RunRecords, runs_parser
from course_lib.experiments.specialisation import measure_devices
from course_lib.inference.evaluate import evaluate_bits_per_byte, transformer_scorer
from course_lib.layers.moe import dead_experts, expert_load, max_load_violation
from course_lib.models.deepseek import (
    DeepSeekMoE,
    DeepSeekSettings,
    count_active_parameters,
    upcycle_model,
)
from course_lib.models.gpt2 import count_parameters
from course_lib.models.llama import init_llama_weights
from course_lib.text.batches import shuffled_windows
from course_lib.training.checkpoint import load_checkpoint, save_checkpoint
from course_lib.training.deepseek_objective import (
    count_expert_loads,
    deepseek_objective,
    moe_layers,
)
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

SHIPPED_EXPERTS = DATA_FOLDER / "experts"


# One run
# --------------------------------------------------------------------------------------------------


def train_pages(
    model: nn.Module, corpus: PageCorpus, run: ExpertRun, steps: int, seed: int, start: int = 0
) -> dict:
    """Train a model in place on batches from number `start` on; tell of the processor's seconds and
    of the balance in each eighth of the run."""
    violations: list[list[float]] = []

    def on_step(step: int, model: nn.Module) -> None:
        violations.append(
            [max_load_violation(expert_load(layer.routing)) for layer in moe_layers(model)]
        )

    batches = shuffled_windows(corpus.tokens, EXPERT_BATCH, EXPERT_CONTEXT, seed, start)
    settings = TrainSettings(steps, muon_lr=run.muon_lr, adam_lr=run.muon_lr / 2)
    began = time.process_time()
    train_to_the_end(model, batches, settings, run.objective, on_step=on_step)
    seconds = time.process_time() - began
    return {"seconds": seconds, "violation_in_training": mean_by_eighths(violations)}


def measure_pages(model: nn.Module, corpus: PageCorpus) -> dict:
    """Measure a trained model on the held-out pages."""
    scorer = transformer_scorer(model.eval(), corpus.tokenizer, END_OF_PAGE)
    texts = [page.text for page in corpus.held_out]
    found = {
        "bits_per_byte": evaluate_bits_per_byte(scorer, texts),
        "parameters": count_parameters(model),
        "active": count_active_parameters(model),
    }
    if loads := count_expert_loads(model, corpus.windows[0].split(EXPERT_BATCH)):
        found["violation"] = [max_load_violation(load) for load in loads]
        found["dead"] = sum(int(dead_experts(load).sum()) for load in loads)
        found["experts"] = sum(map(len, loads))
        visits, n_experts = corpus.visits(model), len(loads[0])
        if n_experts % DEVICES == 0:
            found["devices"] = measure_devices(visits.chosen, n_experts, DEVICES)
    return found


def run_experts(
    run: ExpertRun, corpus: PageCorpus, steps: int, seed: int, keep: Path | None = None
) -> dict:
    """Train and measure one model; keep it at `keep`, if that is given."""
    torch.manual_seed(seed)
    model = run.build(corpus.tokenizer.n_vocab)
    trained = train_pages(model, corpus, run, steps, seed)
    if keep:
        save_checkpoint(keep, model, {"seed": seed, "steps": steps})
    return {"steps": steps, "rate": run.muon_lr} | trained | measure_pages(model, corpus)


# All runs
# --------------------------------------------------------------------------------------------------


def seconds_per_step(
    models: Sequence[tuple[nn.Module, ExpertRun]], corpus: PageCorpus, rounds: int = 8
) -> list[float]:
    """Time training steps of several models in turn, so that a busy machine slows all alike.

    The processor's seconds; the median of `rounds` rounds of five steps.
    """
    times: list[list[float]] = [[] for _ in models]
    for start in range(0, 5 * rounds, 5):
        for (model, run), taken in zip(models, times, strict=True):
            taken.append(train_pages(model, corpus, run, 5, seed=0, start=start)["seconds"] / 5)
    return [median(taken) for taken in times]


@dataclass(frozen=True)
class Recipes:
    """The dense model and the one with experts, at the best of the rates that were tried."""

    dense: ExpertRun
    experts: ExpertRun


def sweep_expert_rates(records: RunRecords, corpus: PageCorpus, seed: int, steps: int) -> Recipes:
    """Try all rates on one seed, and keep the best of each model."""
    best = {}
    for name in ("dense", "experts"):
        run, tried = EXPERT_RUNS["main"][name], {}
        for rate in MUON_RATES:
            measure = partial(run_experts, replace(run, muon_lr=rate), corpus, steps, seed)
            found = records.get(measure, table="rates", seed=seed, name=name, rate=rate)
            tried[rate] = found["bits_per_byte"]
        best[name] = replace(run, muon_lr=min(tried, key=tried.get))
    return Recipes(**best)


def run_equal_time(recipes: Recipes, corpus: PageCorpus, steps: int, seed: int) -> dict:
    """Train the dense model for as long as the one with experts takes for `steps` steps."""
    both, vocab_size = (recipes.dense, recipes.experts), corpus.tokenizer.n_vocab
    dense, sparse = seconds_per_step([(run.build(vocab_size), run) for run in both], corpus)
    found = run_experts(recipes.dense, corpus, round(steps * sparse / dense), seed)
    return found | {"step_seconds": [dense, sparse]}


def run_upcycling(recipes: Recipes, corpus: PageCorpus, steps: int, seed: int) -> dict[str, dict]:
    """Train a dense model, then go on for half as many steps in four ways.

    As it is; as it is, for as long as experts take; with each MLP but the first layer's upcycled to
    eight experts, of which a token visits two; and with such experts from scratch.
    """
    dense = recipes.dense
    sparse = ExpertRun(dense.build, deepseek_objective(sequence=BALANCE), recipes.experts.muon_lr)
    torch.manual_seed(seed)
    base = dense.build(corpus.tokenizer.n_vocab)
    trained = train_pages(base, corpus, dense, steps, seed)
    upcycled = upcycle_model(base, n_experts=8, n_chosen=2)
    fresh, timed, longer, further = (
        copy.deepcopy(model) for model in (upcycled, upcycled, base, base)
    )
    init_llama_weights(fresh, fresh.settings.n_layers)
    found = {
        name: {"steps": steps} | trained | measure_pages(model, corpus)
        for name, model in (("dense", base), ("upcycled, untrained", upcycled))
    }
    per_step = seconds_per_step([(base, dense), (timed, sparse)], corpus)
    more = steps // 2
    as_long = round(more * per_step[1] / per_step[0])
    for name, model, run, n, start in (
        ("dense, trained on", further, dense, more, steps),
        ("dense, trained on as long", longer, dense, as_long, steps),
        ("upcycled", upcycled, sparse, more, steps),
        ("experts from scratch", fresh, sparse, more, steps),
    ):
        trained = train_pages(model, corpus, run, n, seed, start)
        found[name] = {"steps": start + n} | trained | measure_pages(model, corpus)
        found[name]["step_seconds"] = per_step
    return found


def train_all_experts(
    records: RunRecords, corpus: PageCorpus, seeds: Sequence[int], steps: int, tables: Sequence[str]
) -> None:
    """Train what the record lacks of these tables; the rates are swept on the first seed."""
    recipes = sweep_expert_rates(records, corpus, seeds[0], steps)
    for seed, table in product(seeds, tables):
        key = {"table": table, "seed": seed}
        for name, run in EXPERT_RUNS.get(table, {}).items():
            is_dense = table == "main" and name != "experts"
            rate = (recipes.dense if is_dense else recipes.experts).muon_lr
            path = records.path.parent / f"seed-{seed}" / "model.json"
            keep = path if (table, name) == ("main", "experts") else None
            best = replace(run, muon_lr=rate)
            records.get(partial(run_experts, best, corpus, steps, seed, keep), **key, name=name)
        if table == "time":
            measure = partial(run_equal_time, recipes, corpus, steps, seed)
            records.get(measure, **key, name="dense, as long")
        if table == "upcycling" and not records.find(**key):
            for name, found in run_upcycling(recipes, corpus, steps, seed).items():
                records.get(lambda found=found: found, **key, name=name)


EXPERT_TABLES = (*EXPERT_RUNS, "time", "upcycling")


def read_experts(folder: Path | str = SHIPPED_EXPERTS) -> list[dict]:
    """Read the record of all runs."""
    return RunRecords(Path(folder) / "runs.json").runs


def load_experts(seed: int = 0, folder: Path | str = SHIPPED_EXPERTS) -> DeepSeekMoE:
    """Read the kept model with experts of this seed."""
    path = Path(folder) / f"seed-{seed}" / "model.json"
    return load_checkpoint(path, lambda sizes: DeepSeekMoE(DeepSeekSettings(**sizes)))[0].eval()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = runs_parser("expert_runs")
    parser.add_argument("--steps", type=int, default=EXPERT_STEPS)
    parser.add_argument("--tables", nargs="+", choices=EXPERT_TABLES, default=list(EXPERT_TABLES))
    parser.add_argument("--megabytes", type=float, default=2.0, help="of text to draw")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    records = RunRecords(options.out / "runs.json")
    corpus = page_corpus(options.megabytes)
    train_all_experts(records, corpus, options.seeds, options.steps, options.tables)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
