"""Which learning rates hyper-connections stand: a deep net, four rates, three seeds.

    python -m course_lib.experiments.connection_rates --out data/connection_rates

makes all runs and keeps the record; what stands in it already is not made again. The net is that of
`v4_block`: 24 sublayers that learn (a b + a) mod 31, by AdamW without a warm-up.
"""

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean

import torch

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.run_records import RunRecords, runs_parser
from course_lib.experiments.v4_block import CONNECTIONS, train_deep_net

RATES_FOLDER = DATA_FOLDER / "connection_rates"
CONNECTION_RATES, RATE_STEPS = (1e-3, 3e-3, 1e-2, 3e-2), 200


def measure_rate(kind: str, rate: float, seed: int, steps: int = RATE_STEPS) -> dict:
    """Train one net: the mean loss of its last ten steps in nats, its gain, its longest gradient.

    The first ten steps' gradients do not count.
    """
    run = train_deep_net(kind, seed, steps=steps, lr=rate)
    return {
        "loss": mean(run["losses"][-10:]),
        "gain": run["gains"][-1],
        "longest_gradient": max(run["norms"][10:]),
    }


def read_rates(folder: Path = RATES_FOLDER) -> dict[str, list[list[dict]]]:
    """Read the record: for each kind of connection a list of seeds for each rate, in order."""
    records = RunRecords(Path(folder) / "runs.json")
    return {
        kind: [records.by_seed(kind=kind, rate=rate) for rate in CONNECTION_RATES]
        for kind in CONNECTIONS
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = runs_parser("connection_rates")
    parser.add_argument("--steps", type=int, default=RATE_STEPS)
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    records = RunRecords(asked.out / "runs.json")
    for seed, kind, rate in product(asked.seeds, CONNECTIONS, CONNECTION_RATES):
        measure = partial(measure_rate, kind, rate, seed, asked.steps)
        records.get(measure, kind=kind, rate=rate, seed=seed)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
