"""What the scaling runs say: valleys by either count, exponents, a prediction and its test."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.run_records import RunRecords
from course_lib.experiments.scaling import (
    LONG_HORIZON,
    SCALING_BUDGETS,
    SCALING_LAYERS,
    SCALING_LENGTH,
    SCALING_ROWS,
    SCALING_VOCAB,
    matrix_parameters,
    run_scaling,
    scaled_llama,
    steps_for_budget,
    train_flops_per_token,
)
from course_lib.experiments.scaling_fit import (
    IsoflopValley,
    LossLaw,
    bootstrap,
    fit_loss_law,
    fit_power_law,
    isoflop_valley,
    loss_at_compute,
    percentile_interval,
)
from course_lib.files import read_json, write_json
from course_lib.models.llama import LlamaSettings

SCALING_FOLDER = DATA_FOLDER / "scaling"
PREDICTION = "prediction of a scaling law", 1
CHECKED_BUDGET = 8e11  # FLOPs: four times the largest budget of the grid
CHECKED_WIDTHS = (16, 24, 32, 40, 48, 64, 80, 96, 128)


def load_scaling_runs() -> list[dict]:
    """Read the runs that are kept in `data/scaling`."""
    return RunRecords(SCALING_FOLDER / "runs.json").runs


def family_costs(widths: Iterable[int]) -> dict[float, int]:
    """Give the FLOPs per token of each member of the family, by its number of parameters.

    The number of heads, which not every width can have, costs nothing.
    """
    settings = [
        LlamaSettings(SCALING_VOCAB, SCALING_LENGTH, d_model, SCALING_LAYERS, n_heads=1)
        for d_model in widths
    ]
    return {float(sum(matrix_parameters(s))): train_flops_per_token(s) for s in settings}


class LearningCurve(NamedTuple):
    """Losses of one size, each with the compute that it took."""

    n_parameters: int
    computes: tuple[float, ...]
    losses: tuple[float, ...]


def counted_curves(
    runs: Iterable[Mapping], table: str, seed: int | None = None, head: bool = True
) -> list[LearningCurve]:
    """Collect a curve per width from the runs of a table; means over seeds, or one seed's.

    Without `head`, parameters and compute are counted as Kaplan et al. did: the vocabulary costs
    nothing.
    """
    points: dict[tuple, list[float]] = defaultdict(list)
    for run in runs:
        if run["table"] == table and seed in (None, run["seed"]):
            for compute, loss in run["curve"]:
                points[run["d_model"], compute].append(loss)
    return [_curve(d_model, points, head) for d_model in sorted({key[0] for key in points})]


def _curve(d_model: int, points: Mapping[tuple, list[float]], head: bool) -> LearningCurve:
    settings = scaled_llama(d_model)
    layers, embedding = matrix_parameters(settings)
    share = train_flops_per_token(settings, head) / train_flops_per_token(settings)
    mine = sorted(
        (compute, mean(losses)) for (d, compute), losses in points.items() if d == d_model
    )
    computes, losses = zip(*mine, strict=True)
    return LearningCurve(
        layers + embedding * head, tuple(share * compute for compute in computes), losses
    )


def valleys_at(
    curves: Sequence[LearningCurve], budgets: Sequence[float]
) -> dict[float, IsoflopValley]:
    """Find the valley of each budget, among the sizes whose curve reaches it.

    A point within a tenth of the budget stands for it, scaled along the curve. Budgets with fewer
    than four sizes are left out.
    """
    valleys = {}
    for budget in budgets:
        found = [(c.n_parameters, loss_near(c, budget)) for c in curves]
        reached = [(n, loss) for n, loss in found if np.isfinite(loss)]
        if len(reached) >= 4:
            valleys[budget] = isoflop_valley(*zip(*reached, strict=True))
    return valleys


def loss_near(curve: LearningCurve, budget: float, slack: float = 0.06) -> float:
    """Read a curve at a budget; its ends stand for what lies up to `slack` beyond them."""
    low, high = min(curve.computes), max(curve.computes)
    if not low / (1 + slack) <= budget <= high * (1 + slack):
        return float("nan")
    return loss_at_compute(curve.computes, curve.losses, float(np.clip(budget, low, high)))


def valley_exponent(valleys: Mapping[float, IsoflopValley]) -> float:
    """Tell how the best size grows: p of N ~ C^p, through the valleys that there are."""
    found = {budget: valley.size for budget, valley in valleys.items() if valley.size > 0}
    return fit_power_law(list(found), list(found.values()))[1]


# The law and its prediction
# --------------------------------------------------------------------------------------------------


def grid_table(runs: Iterable[Mapping]) -> np.ndarray:
    """Give the runs of the grid as rows (N, D, loss, FLOPs)."""
    return np.array(
        [
            (sum(matrix_parameters(scaled_llama(r["d_model"]))), r["tokens"], r["loss"], r["flops"])
            for r in runs
            if r["table"] == "grid"
        ]
    )


def bootstrap_laws(table: np.ndarray, law: LossLaw, draws: int = 200) -> list[LossLaw]:
    """Fit the law again to resampled runs, each time from the law of all runs."""
    fits = bootstrap(lambda rows: fit_loss_law(*table[rows, :3].T, starts=[law]), len(table), draws)
    return [LossLaw(*fit) for fit in fits.tolist()]


def losses_by_width(law: LossLaw, budget: float) -> dict[int, float]:
    """Predict the loss of each width that has a run of fresh text in this budget."""
    losses = {}
    for d_model in CHECKED_WIDTHS:
        n_tokens = steps_for_budget(d_model, budget) * SCALING_ROWS * SCALING_LENGTH
        if n_tokens <= LONG_HORIZON:
            n_parameters = sum(matrix_parameters(scaled_llama(d_model)))
            losses[d_model] = float(law.loss(n_parameters, n_tokens))
    return losses


def extrapolate_valleys(runs: Iterable[Mapping], budget: float) -> dict[str, float]:
    """Prolong the floors of the valleys by power laws of the budget: size and loss."""
    valleys = valleys_at(counted_curves(runs, "grid"), SCALING_BUDGETS)
    found = {C: valley for C, valley in valleys.items() if valley.size > 0}
    ahead = {}
    for name in ("size", "loss"):
        k, power = fit_power_law(list(found), [getattr(valley, name) for valley in found.values()])
        ahead[name] = k * budget**power
    return ahead


def write_prediction(
    runs: Sequence[Mapping], path: Path, budget: float = CHECKED_BUDGET, draws: int = 200
) -> dict:
    """Fit the law to the grid and write down what it says of a larger budget.

    Raises ValueError if a prediction stands there already: it is made once.
    """
    if path.exists():
        raise ValueError(f"{path} holds a prediction already; a prediction is made once")
    table = grid_table(runs)
    law = fit_loss_law(*table[:, :3].T)
    losses = losses_by_width(law, budget)
    d_model = min(losses, key=losses.get)
    others = [losses_by_width(other, budget) for other in bootstrap_laws(table, law, draws)]
    low, high = percentile_interval([each[d_model] for each in others])
    widths = percentile_interval([min(each, key=each.get) for each in others])
    prediction = {
        "budget": budget,
        "d_model": d_model,
        "loss": losses[d_model],
        "interval": [float(low), float(high)],
        "widths": [float(end) for end in widths],
        "law": list(law),
        "runs": len(table),
        "valleys": extrapolate_valleys(runs, budget),
        "losses": losses,
    }
    write_json(path, *PREDICTION, prediction)
    return read_prediction(path)


def read_prediction(path: Path) -> dict:
    """Read what `write_prediction` wrote. Raises ValueError if it is damaged."""
    return read_json(path, *PREDICTION)


def check_prediction(records: RunRecords, path: Path, seeds: Sequence[int]) -> None:
    """Train the predicted width for the predicted budget, and four wider ones, for each seed."""
    if not path.exists():
        raise ValueError(f"there is no prediction {path} to check: run the part predict first")
    prediction = read_prediction(path)
    d_model, budget = prediction["d_model"], prediction["budget"]
    known = [int(width) for width in prediction["losses"]]
    at = known.index(d_model)
    for width, seed in product(known[at : at + 5], seeds):
        records.get(
            partial(run_scaling, width, budget, seed),
            table="check", budget=budget, d_model=width, seed=seed,
        )  # fmt: skip
