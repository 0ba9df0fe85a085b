"""Train every rung of the ladder, from GPT-2 to V3, and write down what each step buys.

    python -m course_lib.rungs --out data/ladder

Every rung learns from the same tokens, on both corpora, over several seeds; then once more for as much processor time
as GPT-2 took. A second experiment leaves a mixture of experts without balance, and cures it. Finished runs are kept in
`runs.json`: a command that was stopped goes on where it was. `rungs.md` holds the tables.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from statistics import mean

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib import ladder
from course_lib.files import markdown_table, write_atomically
from course_lib.inference.cache import KVCache
from course_lib.inference.evaluate import bits_per_byte
from course_lib.layers.moe import dead_experts, load, max_violation
from course_lib.models.deepseek import DeepSeekMoE, DeepSeekSettings, DeepSeekV2, DeepSeekV3, count_active
from course_lib.models.gpt2 import GPT2, GPT2Settings, count_parameters
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text.batches import windows
from course_lib.training.deepseek import (
    ahead_acceptance,
    balance_by_bias,
    deepseek_objective,
    expert_loads,
    moe_layers,
)
from course_lib.training.objectives import Objective, next_token
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train

LENGTH, BATCH = 128, 16
SIZE = {"max_seq_len": LENGTH, "d_model": 64, "n_layers": 4, "n_heads": 4}
# A latent of two heads' width and a rotary key of half a head's; a token's three experts are as wide as one SwiGLU.
DEEPSEEK = SIZE | {"kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "tied": True}
RECIPE = {"muon_lr": 0.02, "adam_lr": 0.01}     # the best of a small sweep, for V1 on both corpora
BIAS_SPEED = 0.01                               # of the routers' bias at the full learning rate, falling with it


@dataclass(frozen=True)
class Rung:
    """One kind of model and how it learns."""

    build: Callable[[int], nn.Module]           # from the size of the vocabulary
    objective: Objective = next_token
    bias_speed: float = 0.0


def deepseek(kind: type, **settings) -> Callable[[int], nn.Module]:
    """Make the builder of one of DeepSeek's models in the ladder's size."""
    return lambda vocab_size: kind(DeepSeekSettings(vocab_size, **DEEPSEEK | settings))


RUNGS = {
    "GPT-2": Rung(lambda vocab_size: GPT2(GPT2Settings(vocab_size, **SIZE))),
    "V1": Rung(lambda vocab_size: Llama(LlamaSettings(vocab_size, **SIZE, tied=True))),
    "V2, latent attention only": Rung(deepseek(DeepSeekV2, n_dense_layers=4)),
    "V2, experts only": Rung(deepseek(DeepSeekMoE), deepseek_objective(expert=0.01)),
    "V2": Rung(deepseek(DeepSeekV2), deepseek_objective(expert=0.01)),
    "V3": Rung(deepseek(DeepSeekV3), deepseek_objective(sequence=1e-4), BIAS_SPEED),
    "V3, looking ahead": Rung(deepseek(DeepSeekV3, mtp=True), deepseek_objective(sequence=1e-4, ahead=0.3), BIAS_SPEED),
}
MANY = {"n_layers": 3, "n_experts": 16, "d_expert": 56}
BALANCING = {
    "none, softmax": Rung(deepseek(DeepSeekV2, **MANY)),
    "none, sigmoid": Rung(deepseek(DeepSeekV3, **MANY)),
    "loss of weight 0.01, softmax": Rung(deepseek(DeepSeekV2, **MANY), deepseek_objective(expert=0.01)),
    "loss of weight 0.1, softmax": Rung(deepseek(DeepSeekV2, **MANY), deepseek_objective(expert=0.1)),
    "bias, sigmoid": Rung(deepseek(DeepSeekV3, **MANY), bias_speed=BIAS_SPEED),
}


# One run ------------------------------------------------------------------------------------------------------------


def run(rung: Rung, corpus: ladder.Corpus, steps: int, seed: int) -> dict:
    """Train one model and measure all that the tables show. The seconds are the processor's, of training alone."""
    torch.manual_seed(seed)
    model, settings = rung.build(corpus.tokenizer.n_vocab), TrainSettings(steps, **RECIPE)
    nudge = balance_by_bias(lambda step: rung.bias_speed * settings.share_of_peak(step / steps))
    violations: list[list[float]] = []

    def on_step(step: int, model: nn.Module) -> None:
        violations.append([max_violation(load(layer.routing)) for layer in moe_layers(model)])
        if rung.bias_speed:
            nudge(step, model)

    batches = windows(corpus.tokens, BATCH, LENGTH, seed)
    start = time.process_time()
    train(model, batches, settings, rung.objective, on_step=on_step)
    return {
        "steps": steps,
        "seconds": time.process_time() - start,
        "bits_per_byte": bits_per_byte(corpus.scorer(model), corpus.held_out),
        "parameters": count_parameters(model),
        "active": count_active(model),
        "cache_bytes": cache_bytes_per_token(model),
        "violation_in_training": eighths(violations),
        **measure_balance(model, corpus),
        "acceptance": acceptance(model, corpus),
    }


def held_out_windows(corpus: ladder.Corpus, n: int = 64) -> Int[Tensor, "n L"]:
    """Cut the start of the held-out texts into rows of one context each."""
    ids = torch.tensor(corpus.tokenizer.encode("".join(corpus.held_out), allowed_special="all"))
    return ids[: len(ids) // LENGTH * LENGTH].view(-1, LENGTH)[:n]


def measure_balance(model: nn.Module, corpus: ladder.Corpus) -> dict:
    """Tell how unevenly held-out text uses the experts: the worst layer's violation, the dead ones of all layers."""
    loads = expert_loads(model, list(held_out_windows(corpus).split(BATCH)))
    if not loads:
        return {"violation": None, "dead": None, "experts": 0}
    dead = sum(int(dead_experts(layer).sum()) for layer in loads)
    return {"violation": max(map(max_violation, loads)), "dead": dead, "experts": sum(map(len, loads))}


def acceptance(model: nn.Module, corpus: ladder.Corpus) -> float | None:
    """Tell how often a token drawn from the look ahead would stand on held-out text; None for a model without."""
    return ahead_acceptance(model, held_out_windows(corpus)) if getattr(model, "mtp", None) else None


@torch.no_grad()
def cache_bytes_per_token(model: nn.Module) -> float:
    """Count the bytes that real caches of all layers hold per token, at four bytes a number."""
    caches = [KVCache(LENGTH) for _ in range(model.settings.n_layers)]
    model.hidden(torch.zeros(1, LENGTH, dtype=torch.long), caches)
    return sum(cache.n_bytes for cache in caches) / LENGTH


def eighths(violations: list[list[float]]) -> list[float]:
    """Average the worst layer's violation over each eighth of a run; nothing if there are no experts.

    >>> eighths([[1.0, 3.0]] * 8 + [[2.0, 0.0]] * 8)
    [3.0, 3.0, 3.0, 3.0, 2.0, 2.0, 2.0, 2.0]
    """
    worst = [max(layers) for layers in violations if layers]
    ends = [len(worst) * i // 8 for i in range(9)]
    return [mean(worst[a:b]) for a, b in pairwise(ends) if b > a]


# All runs -----------------------------------------------------------------------------------------------------------


class Records:
    """The runs so far, in a JSON file that is written anew after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[dict] = json.loads(path.read_text()) if path.exists() else []

    def find(self, **key) -> dict | None:
        """Give the run of this corpus, table, rung and seed, or None."""
        return next((run for run in self.runs if key.items() <= run.items()), None)

    def get(self, measure: Callable[[], dict], **key) -> dict:
        """Give the run of this key; measure and keep it if there is none."""
        if found := self.find(**key):
            return found
        found = key | measure()
        result = f"{found['bits_per_byte']:.3f} bits per byte, {found['seconds']:.0f} s"
        print(f"{', '.join(map(str, key.values()))}: {result}", flush=True)
        self.runs.append(found)
        write_atomically(self.path, json.dumps(self.runs, indent=1).encode())
        return found


def train_all(records: Records, seeds: list[int], corpora: list[str], steps: int) -> None:
    """Train every rung on equal tokens, then all but the first on equal time, then the mixtures left unbalanced."""
    for seed, name in product(seeds, corpora):
        corpus, key = ladder.corpus(name), {"corpus": name, "seed": seed}
        for rung, how in RUNGS.items():
            first = records.get(partial(run, how, corpus, steps, seed), table="tokens", rung=rung, **key)
            budget = records.find(table="tokens", rung=FIRST, **key)["seconds"]
            as_long = round(steps * budget / first["seconds"])
            if rung != FIRST:
                records.get(partial(run, how, corpus, as_long, seed), table="time", rung=rung, **key)
    for seed, (rung, how) in product(seeds, BALANCING.items()):
        key = {"table": "balance", "rung": rung, "corpus": "small web", "seed": seed}
        records.get(partial(run, how, ladder.corpus("small web"), max(1, steps * 3 // 5), seed), **key)


# The tables ---------------------------------------------------------------------------------------------------------


def report(runs: list[dict], command: str) -> str:
    """Write all tables and what they say as Markdown."""
    corpora = list(dict.fromkeys(run["corpus"] for run in runs))
    parts = [HEAD.format(command=command, seeds=len({run["seed"] for run in runs}))]
    for name in corpora:
        parts += [f"## {name.capitalize()}", ladder_table(runs, name), "What each step buys:", steps_bought(runs, name)]
    if any(run["table"] == "balance" for run in runs):
        parts += ["## Experts with and without balance", BALANCE_HEAD, balance_table(runs)]
    return "\n\n".join(parts) + "\n"


def ladder_table(runs: list[dict], corpus: str) -> str:
    """One row for each rung: bits per byte after equal tokens and after equal time, and what it costs."""
    rows = []
    for rung in RUNGS:
        mine = chosen(runs, table="tokens", corpus=corpus, rung=rung)
        timed = chosen(runs, table="time", corpus=corpus, rung=rung) or mine
        if mine:
            rows.append([
                rung, spread(mine, "bits_per_byte"), spread(timed, "bits_per_byte"), f"{average(mine, 'seconds'):.0f}",
                f"{mine[0]['parameters']:,}", f"{mine[0]['active']:,}", f"{mine[0]['cache_bytes']:,.0f}",
                spread(mine, "violation", 2), dead(mine), spread(mine, "acceptance", 2),
            ])  # fmt: skip
    return markdown_table(COLUMNS, rows)


def balance_table(runs: list[dict]) -> str:
    """One row for each way to balance: what happens in training, and where held-out text goes afterwards."""
    rows = []
    for rung in BALANCING:
        mine = chosen(runs, table="balance", rung=rung)
        if mine:
            eighth_by_eighth = zip(*(run["violation_in_training"] for run in mine), strict=True)
            course = " ".join(f"{mean(values):.1f}" for values in eighth_by_eighth)
            rows.append([rung, course, spread(mine, "violation", 2), dead(mine), spread(mine, "bits_per_byte")])
    header = ["balanced by", "violation over the run", "on held-out text", "dead experts", "bits per byte"]
    return markdown_table(header, rows)


def steps_bought(runs: list[dict], corpus: str) -> str:
    """One line for each pair of neighbours: the difference in bits per byte, seed by seed, and in cost."""
    lines = []
    for before, after in PAIRS:
        told = []
        for table, words in (("tokens", "equal tokens"), ("time", "equal time")):
            gains = paired(runs, corpus, table, before, after)
            if gains:
                better = sum(gain < 0 for gain in gains)
                told.append(f"{mean(gains):+.3f} bits per byte at {words} (better in {better} of {len(gains)} seeds)")
        a, b = (chosen(runs, table="tokens", corpus=corpus, rung=rung) for rung in (before, after))
        if told:
            time_ratio = average(b, "seconds") / average(a, "seconds")
            cache_ratio = average(a, "cache_bytes") / average(b, "cache_bytes")
            cache = "the same cache" if cache_ratio == 1 else f"a cache {cache_ratio:.1f} times smaller"
            told += [f"{time_ratio:.2f} times the time per token", cache]
            lines.append(f"- {before} to {after}: {'; '.join(told)}.")
    return "\n".join(lines)


def paired(runs: list[dict], corpus: str, table: str, before: str, after: str) -> list[float]:
    """Subtract the bits per byte of one rung from another's, seed by seed; the first rung has one run for both."""
    def by_seed(rung: str) -> dict[int, float]:
        kind = "tokens" if rung == FIRST else table
        return {r["seed"]: r["bits_per_byte"] for r in chosen(runs, table=kind, corpus=corpus, rung=rung)}

    a, b = by_seed(before), by_seed(after)
    return [b[seed] - a[seed] for seed in sorted(a.keys() & b.keys())]


def chosen(runs: list[dict], **key) -> list[dict]:
    """Give the runs of this key."""
    return [run for run in runs if key.items() <= run.items()]


def average(runs: list[dict], what: str) -> float:
    """Average a measurement over runs."""
    return mean(run[what] for run in runs)


def spread(runs: list[dict], what: str, digits: int = 3) -> str:
    """Tell the mean of a measurement and its range over seeds: `0.512 (0.508-0.517)`; a dash where there is none."""
    values = [run[what] for run in runs if run[what] is not None]
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{mean(values):.{digits}f}" + (f" ({low:.{digits}f}-{high:.{digits}f})" if len(values) > 1 else "")


def dead(runs: list[dict]) -> str:
    """Tell how many of all experts are dead, seed by seed."""
    return "-" if not runs[0]["experts"] else ", ".join(str(r["dead"]) for r in runs) + f" of {runs[0]['experts']}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train what is missing, write the tables."""
    parser = argparse.ArgumentParser("python -m course_lib.rungs", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs.json and rungs.md")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--corpora", nargs="+", choices=list(ladder.CORPORA), default=list(ladder.CORPORA))
    parser.add_argument("--steps", type=int, default=200, help="of 2048 tokens each (default: 200)")
    parser.add_argument("--report", action="store_true", help="train nothing, write the tables of the runs so far")
    asked = parser.parse_args(arguments)
    if asked.steps < 10:
        parser.error(f"--steps {asked.steps} is below 10")
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    records = Records(asked.out / "runs.json")
    if not asked.report:
        train_all(records, asked.seeds, asked.corpora, asked.steps)
    command = f"python -m course_lib.rungs --out {asked.out} --steps {asked.steps}"
    write_atomically(asked.out / "rungs.md", report(records.runs, command).encode())


HEAD = """# The ladder

GPT-2, DeepSeek's V1, V2 and V3 in the same small size: trained on the same tokens over {seeds} seeds, then for the same
processor time as GPT-2. Made by

```bash
{command}
```

Bits per byte on held-out text: mean and range over the seeds; less is better. *Seconds*: of one thread, for training on
equal tokens. *Active*: the parameters that one token is multiplied by. *Cache*: bytes per token in real caches, four
bytes a number. *Violation*: how far the busiest expert of the worst layer is above a fair load, on held-out text.
*Dead*: experts with less than a tenth of a fair load, seed by seed. *Accepted*: how often a token drawn from the look
ahead would stand."""
BALANCE_HEAD = """Three layers, two of them with 16 experts, of which a token visits 2, and a shared one; three fifths
of the steps. *Violation over the run*: of the worst layer, eighth by eighth; 7 is everybody at the same two experts."""
COLUMNS = ("rung", "bits per byte, equal tokens", "equal time", "seconds", "parameters", "active",
           "cache, bytes per token", "violation", "dead", "accepted")  # fmt: skip
FIRST = "GPT-2"
PAIRS = (("GPT-2", "V1"), ("V1", "V2, latent attention only"), ("V1", "V2, experts only"), ("V1", "V2"), ("V2", "V3"),
         ("V3", "V3, looking ahead"))  # fmt: skip

if __name__ == "__main__":
    main()
