"""What is pre-training worth? Small labelled tasks, learnt by models that have read, and by others.

OMP_NUM_THREADS=1 python -m course_lib.experiments.few_labels --out data/family
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.experiments import family_texts as texts
from course_lib.experiments.few_label_tasks import FewLabelTask, LabelledRows
from course_lib.experiments.label_baselines import label_accuracy, mean_of_tokens, vector_accuracy
from course_lib.layers.embedding import Embedding
from course_lib.text.batches import IGNORE_INDEX, shuffled_rows
from course_lib.training.objectives import LossSum
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

TUNING_STEPS, TUNING_BATCH, TUNING_RATE = 150, 16, 1e-3


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
    steps: int = TUNING_STEPS,
    lr: float = TUNING_RATE,
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
    batches = shuffled_rows(rows, labels, TUNING_BATCH, seed)
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


@torch.no_grad()
def frozen_accuracy(model: nn.Module, task: FewLabelTask) -> float:
    """Fit a linear classifier to the vectors of a model that is not trained."""
    with torch.enable_grad():
        return vector_accuracy(lambda ids: read_rows(model, ids).detach(), task)
