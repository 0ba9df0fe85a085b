"""What it costs to train with a bias that leaks: V3's balance with a common mistake, three seeds.

    python -m course_lib.experiments.balancing --out data/balancing

The same model without the mistake, and with no balance at all, is among the ladder's runs
(`data/ladder`); this one has the same size and as many steps, and is measured as a rung of the
ladder. Finished runs are kept in `runs.json`: a command that was stopped goes on where it was.
"""

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from course_lib.assets import DATA_FOLDER
from course_lib.experiments import ladder
from course_lib.experiments.ladder_runs import (
    BIAS_SPEED,
    MANY_EXPERTS,
    LadderRung,
    deepseek_builder,
    run_rung,
)
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser, runs_with
from course_lib.layers.moe import Routing, SigmoidRouter
from course_lib.models.deepseek import DeepSeekV3

BALANCING_FOLDER = DATA_FOLDER / "balancing"
CORPUS, STEPS = "small web", 120
OF_THE_LADDER = {"nothing": "none, sigmoid", "bias": "bias, sigmoid"}  # our name -> its rung


class LeakyRouter(SigmoidRouter):
    """V3's router with a common mistake: the bias that ranks the experts weighs them too."""

    def forward(self, x: Float[Tensor, "*B C"]) -> Routing:
        routing = super().forward(x)
        picked = (routing.scores + self.bias).gather(-1, routing.chosen)
        weights = self.choice["scale"] * picked / picked.sum(-1, keepdim=True)
        return Routing(routing.scores, routing.chosen, weights)


class LeakyV3(DeepSeekV3):
    """V3 with the mistake of `LeakyRouter`."""

    router = LeakyRouter


def balancing_rungs() -> dict[str, LadderRung]:
    """Name the ways to balance that are not on the ladder."""
    leaky = deepseek_builder(LeakyV3, **MANY_EXPERTS)
    return {"bias, leaking": LadderRung(leaky, bias_speed=BIAS_SPEED)}


def balancing_runs(folder: Path = BALANCING_FOLDER) -> dict[str, list[dict]]:
    """Read the finished runs of each way to balance, those of the ladder too, seed by seed."""
    own, ladders = (RunRecords(each / "runs.json").runs for each in (folder, ladder.LADDER_FOLDER))
    rungs = {name: runs_with(ladders, table="balance", rung=r) for name, r in OF_THE_LADDER.items()}
    rungs |= {name: runs_with(own, balanced_by=name) for name in balancing_rungs()}
    return {name: sorted(runs, key=lambda run: run["seed"]) for name, runs in rungs.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = runs_parser("balancing", __doc__)
    parser.add_argument("--steps", type=int, default=STEPS, help="of 2048 tokens each")
    asked = parser.parse_args(arguments)
    if asked.steps < 8:
        parser.error(f"--steps {asked.steps} is below 8")
    records, corpus = open_records(asked.out), ladder.ladder_corpus(CORPUS)
    for seed, (name, rung) in product(asked.seeds, balancing_rungs().items()):
        records.get(partial(run_rung, rung, corpus, asked.steps, seed), balanced_by=name, seed=seed)


if __name__ == "__main__":
    main()
