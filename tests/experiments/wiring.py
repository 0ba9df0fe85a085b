"""Stand-ins for all that costs time in an experiment: trainers, samplers and judges that note what
they are given.

Models are named by the stage that left them; folders, tokenizer, tasks, filters and the choice of
pairs are the real ones.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from course_lib.alignment.reward_model import RewardModel, TrainedRewardModel
from course_lib.experiments import ablations, chats, r1, search, stages
from course_lib.experiments.run import ExperimentRun
from course_lib.files import write_json
from course_lib.tasks import arithmetic
from course_lib.text import bpe, small_web
from course_lib.text.corpus.document import Document
from course_lib.text.problems import ChainProblem
from course_lib.training import checkpoint
from course_lib.training.settings import TrainHistory

BEST_SAMPLE = 9  # the judge's favourite of 16: neither the first nor the last


class NamedModel(nn.Module):
    """What stands for a model: the name of its stage, such as "base"."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class NamedJudge(RewardModel):
    """A reward model that knows its own name; of 16 samples it likes number BEST_SAMPLE best."""

    def __init__(self, name: str, tokenizer: bpe.Tokenizer) -> None:
        nn.Module.__init__(self)
        self.name, self.tokenizer = name, tokenizer

    def score(self, texts):
        samples = [int(re.findall(r"sample (\d+)", self.tokenizer.decode(ids))[0]) for ids in texts]
        return torch.tensor([self.score_of_sample(sample) for sample in samples])

    def score_of_sample(self, sample: int) -> float:
        return len(self.name) + (7 * sample) % 16 / 16  # 7 * 9 % 16 is 15


@dataclass
class Lesson:
    """What a trainer was given."""

    model: Any
    data: Any
    settings: Any
    options: dict

    @property
    def start(self) -> str:
        """Name the model that was there before."""
        return self.model.name


@dataclass
class Notes:
    """All that the stand-ins were given: lessons by place, samplings and readings in turn."""

    root: Path
    lessons: dict[str, Lesson] = field(default_factory=dict)
    samplings: list[tuple[str, dict]] = field(default_factory=list)
    tokenizers: list[tuple[list[str], tuple]] = field(default_factory=list)
    pages: list[dict] = field(default_factory=list)

    def place(self, path: Path) -> str:
        return str(Path(path).relative_to(self.root))


def answer_to_sum(name: str, problem: ChainProblem, kind: int) -> str:
    """Wrong; right without a form; right in two languages; right and readable; that, and worked."""
    answer = int(problem.answer)
    return (
        f"<think>{name} says</think><answer>{answer + 1}</answer>",
        f"{name} says {answer}",
        f"<think>{name} 说 says</think><answer>{answer}</answer>",
        f"<think>{name} says</think><answer>{answer}</answer>",
        f"<think>{name} says 1+1=2</think><answer>{answer}</answer>",
    )[kind]


def stand_in(patch, root: Path) -> tuple[type[ExperimentRun], Notes]:
    """Put the stand-ins in place; give the kind of run that goes with them, and their notes."""
    notes = Notes(root)

    class NamedRun(ExperimentRun):
        def load(self, stage):
            if not self.done(stage):
                raise LookupError(f"the model of {stage} is not there yet")
            return NamedModel(notes.place(self.folder / stage))

        def keep(self, stage, model, history):
            assert history.model is model  # what is kept is what was trained
            notes.lessons[notes.place(self.folder / stage)] = history
            self.path(f"{stage}/model").parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path(f"{stage}/model"), "model", 1, stage)

    def draw_pages(megabytes, seed, mixture, chains=None, searches=None):
        given = {"megabytes": megabytes, "seed": seed, "mixture": mixture}
        notes.pages.append(given | {"chains": chains, "searches": searches})
        kind = f"worked {chains.worked:g} tags {chains.tags:g} " if chains else "searches "
        return [Document("https://a.example/", f"{kind}seed {seed} page {i}") for i in range(30)]

    def train(model, batches, settings, **options):
        return Lesson(model, batches, settings, options)

    def train_grpo(model, tokenizer, task, settings, **options):
        return Lesson(model, task, settings, options)

    def train_sft(model, examples, settings, **options):
        return Lesson(model, examples, settings, options)

    def train_reward_model(model, pairs, steps, **options):
        lesson = Lesson(model, pairs, steps, options)
        trained = NamedModel("judge")
        trained.lesson = lesson
        return TrainedRewardModel._make((trained, 0.5, TrainHistory()))

    def save_checkpoint(path, model, notes_on_it):
        notes.lessons[notes.place(path.with_suffix(""))] = model.lesson
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, "judge", 1, notes_on_it)

    def load_checkpoint(path, build):
        place = notes.place(path.with_suffix(""))
        return NamedJudge(place, bpe.Tokenizer.load(notes.root / "base/tokenizer.json")), {}

    def answer_in_batches(model, tokenizer, questions, n_samples=1, **options):
        name, heat = model.name, options.get("temperature", 1.0)
        notes.samplings.append((name, {"n": len(questions), "n_samples": n_samples} | options))
        texts = [
            answer_to_sum(name, question.truth, (i if n_samples == 1 else j) % 5)
            if isinstance(question.truth, ChainProblem)
            else f"{question.text} {name} at {heat:g} sample {j}"
            for i, question in enumerate(questions)
            for j in range(n_samples)
        ]
        return texts, [len(text) for text in texts]

    def train_bpe(texts, vocab_size, pattern, special_tokens, real=bpe.train_bpe):
        notes.tokenizers.append((list(texts), (vocab_size, pattern)))
        return real([*texts, "a b" * 99], 256 + len(special_tokens), pattern, special_tokens)

    def measured(model, tokenizer, n=1000, temperature=1.0):
        return {"of": model.name, "n": n, "temperature": temperature}

    for module, name, new in (
        (search, "ExperimentRun", NamedRun),
        (small_web, "draw_clean_documents", draw_pages),
        (stages, "train", train),
        (stages, "train_grpo", train_grpo),
        (stages, "train_sft", train_sft),
        (chats, "train_reward_model", train_reward_model),
        (checkpoint, "save_checkpoint", save_checkpoint),
        (checkpoint, "load_checkpoint", load_checkpoint),
        (chats, "answer_in_batches", answer_in_batches),
        (r1, "answer_in_batches", answer_in_batches),
        (bpe, "train_bpe", train_bpe),
        (arithmetic, "evaluate_arithmetic", measured),
        (arithmetic, "arithmetic_at_k", lambda model, tokenizer: {"of": model.name}),
        (search, "evaluate_search", lambda run, name: {"of": run.load(name).name}),
        (ablations, "run_search", lambda *given, **options: {"given": [*given, options]}),
    ):
        patch.setattr(module, name, new)
    return NamedRun, notes
