"""What is pre-training worth? Small labelled tasks, learnt by models that have read, and by others.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.few_labels \\
        --out data/family --work build/family

`--work` is the folder in which `course_lib.experiments.family` has kept its models. Finished runs
are kept: a command that was stopped goes on where it was.
"""

import argparse
import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.experiments import family_texts as texts
from course_lib.experiments.family import FAMILY_SEEDS, MODEL_OF, load_system
from course_lib.experiments.few_label_tasks import (
    FEW_LABEL_TASKS,
    FewLabelTask,
    LabelledRows,
    few_label_task,
)
from course_lib.experiments.label_baselines import (
    bag_of_words_accuracy,
    commonest_accuracy,
    count_vector_accuracy,
    fit_logistic,
    label_accuracy,
    mean_of_tokens,
    standardised,
    vector_accuracy,
)
from course_lib.experiments.run_records import RunRecords, runs_with
from course_lib.layers.embedding import Embedding
from course_lib.models.gpt2 import GPT2
from course_lib.text.batches import IGNORE_INDEX, shuffled_rows
from course_lib.training.objectives import LossSum
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

LABEL_STEPS, LABEL_BATCH, LABEL_RATE = 150, 16, 1e-3
FEW_LABEL_COUNTS, FEW_LABEL_DRAWS = (16, 64, 256), (0, 1, 2)
TABLE_TASKS = ("mood", "role", "negation", "reaction")  # for all systems


class TextClassifier(nn.Module):
    """A model of the family with a linear layer on it, from zero: on the mean of a row's vectors.

    `per_token` asks it of each vector instead. `body` is any model with `hidden(ids, padding=)`.
    """

    def __init__(self, body: nn.Module, n_classes: int, per_token: bool = False) -> None:
        super().__init__()
        self.body, self.per_token = body, per_token
        self.head = nn.Linear(body.settings.d_model, n_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B K"] | Float[Tensor, "B T K"]:
        hidden = read_rows(self.body, ids)
        return self.head(hidden if self.per_token else mean_of_tokens(hidden, ids))


def read_rows(model: nn.Module, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
    """Give a vector per token, as the model's last layer has it; padding is unheard."""
    return model.hidden(ids, padding=ids == texts.PAD_TOKEN)


def label_objective(model: nn.Module, ids: Int[Tensor, "B T"], labels: Tensor) -> LossSum:
    """Average the surprise at the labels, of rows or of tokens."""
    logits = model(ids)
    asked = labels != IGNORE_INDEX
    total = F.cross_entropy(logits[asked], labels[asked], reduction="sum")
    return LossSum(total, int(asked.sum()))


def fine_tune(
    model: nn.Module,
    rows: Int[Tensor, "N T"],
    labels: Int[Tensor, "N"] | Int[Tensor, "N T"],
    n_classes: int = 2,
    steps: int = LABEL_STEPS,
    lr: float = LABEL_RATE,
    seed: int = 0,
    freeze_words: bool = True,
) -> TextClassifier:
    """Train a copy of a model, with a new linear layer, to say the labels; the model stays.

    The table of words is not trained: it would move the few words that the labels hold away from
    their relatives. With 64 rows and the defaults it takes a few seconds.
    """
    torch.manual_seed(seed)
    classifier = TextClassifier(copy.deepcopy(model), n_classes, per_token=labels.ndim == 2)
    for module in classifier.modules():
        if isinstance(module, Embedding) and freeze_words:
            module.requires_grad_(False)
    settings = TrainSettings(
        steps, adam_lr=lr, optimizer="adamw", warmup=0.1, decay=0.9, weight_decay=0.01
    )
    batches = shuffled_rows(rows, labels, LABEL_BATCH, seed)
    train_to_the_end(classifier, batches, settings, label_objective)
    return classifier


@torch.no_grad()
def classify_rows(
    classifier: TextClassifier, rows: LabelledRows, chunk: int = 128
) -> Float[Tensor, "M K"]:
    """Give the logits, a row for each label."""
    logits = torch.cat([classifier(part) for part in rows.ids.split(chunk)])
    return logits[rows.labels != IGNORE_INDEX]


def tuned_accuracy(model: nn.Module, task: FewLabelTask, **options) -> float:
    """Fine-tune a model, and tell how often it is right; `options` are those of `fine_tune`."""
    classifier = fine_tune(model, *task.train, len(task.classes), **options)
    return label_accuracy(classify_rows(classifier, task.test), task.test)


def frozen_accuracy(model: nn.Module, task: FewLabelTask) -> float:
    """Fit a linear classifier to the vectors of a model that is not trained."""
    return vector_accuracy(lambda ids: read_rows(model, ids).detach(), task)


# Without a gradient: which sentence surprises the model?
# --------------------------------------------------------------------------------------------------


@torch.no_grad()
def token_surprises(
    model: nn.Module, ids: Int[Tensor, "N T"], chunk: int = 256
) -> Float[Tensor, "N T"]:
    """Give the surprise at each token, in nats: after what stands before it, or hidden on its own.

    GPT-2 and CTRL are asked the first, masked models the second; 0 at borders and padding.
    """
    surprises = torch.zeros(ids.shape)
    rows, columns = texts.maskable_places(ids).nonzero(as_tuple=True)
    if isinstance(model, GPT2):
        logits = model(ids)[rows, columns - 1]
        surprises[rows, columns] = F.cross_entropy(logits, ids[rows, columns], reduction="none")
        return surprises
    for i, j in zip(rows.split(chunk), columns.split(chunk), strict=True):
        hidden = read_rows(model, ids[i].scatter(1, j[:, None], texts.MASK_TOKEN))
        logits = model.logits(hidden[torch.arange(len(i)), j])
        surprises[i, j] = F.cross_entropy(logits, ids[i, j], reduction="none")
    return surprises


def surprise_accuracy(model: nn.Module, task: FewLabelTask) -> float:
    """Judge sentences by how much they surprise a model that is not trained.

    The labels serve only to weigh two numbers of a sentence: its tokens' surprises, summed up, and
    the greatest of them. Source of the sum: Salazar et al. 2020 (arXiv 1910.14659), section 2.
    """
    features = []
    for rows in (task.train, task.test):
        nats = token_surprises(model, rows.ids)
        features.append(torch.stack([nats.sum(1), nats.amax(1)], 1))
    features, others = standardised(*features)
    classify = fit_logistic(features, task.train.labels, len(task.classes))
    return label_accuracy(classify(others), task.test)


# What the command runs
# --------------------------------------------------------------------------------------------------


def count_methods() -> dict[str, Callable[[FewLabelTask], float]]:
    """Give the methods that need no network."""
    return {
        "commonest class": commonest_accuracy,
        "words": bag_of_words_accuracy,
        "words and pairs": partial(bag_of_words_accuracy, pairs=True),
        "count vectors": count_vector_accuracy,
    }


def measure_few_labels(
    system: str, method: str, task: str, n_labels: int, draw: int, seed: int, folder: Path
) -> dict[str, float]:
    """Measure one method on one draw; without a `system`, it is one of `count_methods`."""
    drawn = few_label_task(task, n_labels, draw)
    if not system:
        return {"accuracy": round(count_methods()[method](drawn), 4)}
    if method == "from scratch":  # its table knows nothing yet that training could spoil
        new = MODEL_OF[system](seed)
        found = tuned_accuracy(new, drawn, seed=seed, freeze_words=False)
        return {"accuracy": round(found, 4)}
    model = load_system(system, seed, folder)
    if method == "fine-tuned":
        return {"accuracy": round(tuned_accuracy(model, drawn, seed=seed), 4)}
    ask = frozen_accuracy if method == "frozen" else surprise_accuracy
    return {"accuracy": round(ask(model, drawn), 4)}


def few_label_plan() -> Iterator[tuple[str, str, str, int]]:
    """Name what is measured: system, method, task, number of labels; each for draws and seeds."""
    for n_labels, task in product(FEW_LABEL_COUNTS, FEW_LABEL_TASKS):
        yield from (("", method, task, n_labels) for method in count_methods())
    for task in FEW_LABEL_TASKS:
        yield from (("RoBERTa", method, task, 64) for method in ("from scratch", "frozen"))
    for system, task in product(MODEL_OF, TABLE_TASKS):
        yield system, "fine-tuned", task, 64
    for n_labels, task in product((16, 256), ("mood", "negation")):
        yield from (("RoBERTa", how, task, n_labels) for how in ("fine-tuned", "from scratch"))
    yield "RoBERTa", "fine-tuned", "agreement", 64
    yield from ((system, "surprise", "reaction", 64) for system in ("RoBERTa", "GPT-2"))


def few_label_scores(
    system: str,
    method: str,
    task: str,
    n_labels: int = 64,
    file: Path = texts.FAMILY_FOLDER / "few_labels.json",
) -> list[float]:
    """Give the kept accuracies of one method, one for each draw and seed; `system` "" for counts.

    Raises ValueError if there are none.
    """
    key = {"system": system, "method": method, "task": task, "labels": n_labels}
    found = runs_with(RunRecords(file).runs, **key)
    if not found:
        raise ValueError(f"{file.name} has no runs of {key}")
    return [run["accuracy"] for run in found]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and measure what is missing."""
    parser = argparse.ArgumentParser("python -m course_lib.experiments.few_labels")
    parser.add_argument("--out", type=Path, required=True, help="folder for few_labels.json")
    parser.add_argument("--work", type=Path, required=True, help="folder of the trained models")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    records = RunRecords(asked.out / "few_labels.json")
    for system, method, task, n_labels in few_label_plan():
        for draw, seed in product(FEW_LABEL_DRAWS, FAMILY_SEEDS if system else (0,)):
            key = {"system": system, "method": method, "task": task}
            key |= {"labels": n_labels, "draw": draw, "seed": seed}
            records.get(partial(measure_few_labels, *key.values(), asked.work), **key)


if __name__ == "__main__":
    main()
