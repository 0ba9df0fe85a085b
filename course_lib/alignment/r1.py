"""From raw text to R1: the stages of DeepSeek-R1 (arXiv 2501.12948) at the size of a laptop.

    base -> zero                                    reinforcement learning on rules alone: R1-Zero
         -> cold-start -> reasoning                 a few readable answers first, then RL with a reward for language
         -> sft -> r1                               the best of these answers and of the chats, then RL for both: R1
    small-base -> student, small-zero               a small dense model, taught by R1 or by RL

Every stage reads what the stages before it left in the folder of the run and leaves a model, or data, of its own name.
A stage that was killed goes on from its last checkpoint.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn

from course_lib.alignment import maths, preferences
from course_lib.alignment.grpo import GRPOSettings, grpo
from course_lib.alignment.practice import EVALUATION_SEED, Question, RLHistory, Task, in_parts, prompt
from course_lib.alignment.reward_model import RewardModel, train_reward_model
from course_lib.alignment.rewards import languages, mean_or_zero, weighted
from course_lib.alignment.sft import examples, recipe, sft
from course_lib.assets import DATA
from course_lib.files import read_json, write_json
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text import bpe, small_web
from course_lib.text.batches import pack_whole_documents, phases_in_turn, shuffled_rows
from course_lib.text.chat import END_OF_TEXT, PAD, SPECIAL_TOKENS
from course_lib.text.corpus.document import Document
from course_lib.text.problems import Chain, is_well_formed, verify
from course_lib.text.small_web import ChainShares
from course_lib.training import checkpoint
from course_lib.training.deepseek import balance_by_bias, deepseek_objective, moe_layers
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import History, TrainSettings
from course_lib.training.trainer import train

VERSION = 1
SMALL = ("small-base", "small-zero", "student")     # the names of the dense models
ZERO_REWARDS = {"accuracy": 1.0, "format": 0.5}      # at a weight of 0.2 the format was lost in some seeds
EARLY_SEED = 1_000_000       # added to the seed, for the pages that are read first
REASONING_REWARDS = ZERO_REWARDS | {"language": 0.5}


@dataclass(frozen=True)
class Recipe:
    """All numbers of the pipeline. The defaults are for two cores of a laptop; see `GPU`."""

    megabytes: float = 4.0              # of each phase
    # fewer tales than in the mixture "base", under which some bases copied wrong numbers into their steps
    mixture: Mapping[str, float] = field(default_factory=lambda: {
        "tale": 0.03, "encyclopaedia": 0.02, "questions": 0.02, "helpdesk": 0.12, "chain": 0.71, "chain_drill": 0.10,
    })  # fmt: skip
    vocab_size: int = 512
    # fewer who work than in `ChainShares`: worked answers of this base are right more often, and it must not start high
    chains: ChainShares = ChainShares(worked=0.22)
    # a curriculum: until the learning rate falls, so many times more people work sums out. What is learnt there stays;
    # how often one works is learnt anew while it falls, and that is what RL must find
    early_share: float = 0.6
    early_work: float = 3.6
    # queries are normed in a latent as wide as the model: half as wide, the base's worked answers were right in 46 %,
    # not 73; with base 100, all pairs of a rotary key turn noticeably within a row
    base: Mapping = field(default_factory=lambda: {
        "d_model": 64, "n_layers": 3, "n_heads": 4, "q_lora_rank": 64, "rope_base": 100.0,
    })  # fmt: skip
    small: Mapping = field(default_factory=lambda: {
        "d_model": 32, "n_layers": 2, "n_heads": 4, "rope_base": 100.0,
    })  # fmt: skip
    context: int = 256                  # tokens that a question and its answer may have
    window: int = 128                   # tokens of a row of pre-training
    batch_size: int = 16                # twice as many steps as with 32
    base_steps: int = 1800
    small_steps: int = 800
    zero: GRPOSettings = GRPOSettings(70)
    reasoning: GRPOSettings = GRPOSettings(40, lr=5e-4, beta=0.02)
    r1: GRPOSettings = GRPOSettings(40, lr=5e-4, beta=0.1)
    small_zero: GRPOSettings = GRPOSettings(160)
    cold_questions: int = 400           # asked of R1-Zero, four times each, for the cold start
    cold_steps: int = 60
    sft_questions: int = 1000           # asked of the model with a cold start, four times each
    sft_steps: int = 150
    n_chats: int = 1000                 # of each, the best of 16 answers of the base
    n_pairs: int = 3000                 # pairs of chat answers that the annotator compares
    judge_steps: int = 300
    student_questions: int = 4000       # asked of R1, once each
    student_steps: int = 600


LAPTOP = Recipe()
GPU = replace(      # nine minutes on an H200; one seed, see data/r1/gpu
    LAPTOP,
    megabytes=8.0,
    base={
        "d_model": 256, "n_layers": 6, "n_heads": 8, "n_experts": 16, "n_chosen": 4, "q_lora_rank": 256,
        "rope_base": 100.0,
    },
    small={"d_model": 64, "n_layers": 3, "n_heads": 4, "rope_base": 100.0},
    batch_size=128,
    base_steps=1500,
    zero=GRPOSettings(60, n_questions=32, lr=5e-4),
)
PRESETS = {"laptop": LAPTOP, "gpu": GPU}


@dataclass(frozen=True)
class Run:
    """One run of the pipeline: where it is kept, what its randomness starts from, and its numbers."""

    folder: Path
    seed: int = 0
    recipe: Any = LAPTOP        # a `Recipe`, or that of another pipeline
    device: str = "cpu"

    def path(self, name: str) -> Path:
        """Give the place of a JSON file, as in `path("sft/sums")`: each stage has a folder of its own."""
        return Path(self.folder) / f"{name}.json"

    def tokenizer(self) -> bpe.Tokenizer:
        return bpe.Tokenizer.load(self.path("base/tokenizer"))

    def checkpoints(self, stage: str, every: int) -> Checkpoints:
        return Checkpoints(Path(self.folder) / stage / "steps", every, keep=1)

    def done(self, stage: str) -> bool:
        return self.path(f"{stage}/model").exists()

    def load(self, stage: str) -> nn.Module:
        """Read the model that a stage has left."""
        kind, settings = (Llama, LlamaSettings) if stage in SMALL else (DeepSeekV3, DeepSeekSettings)
        model, _ = checkpoint.load(self.path(f"{stage}/model"), lambda numbers: kind(settings(**numbers)))
        return model.to(self.device)

    def keep(self, stage: str, model: nn.Module, history: History | RLHistory) -> None:
        """Write a stage's history and model, in this order, and forget the steps on the way."""
        if history.ended == "interrupted":
            raise KeyboardInterrupt(f"{stage} is not done; the same command goes on with it")
        write_json(self.path(f"{stage}/history"), "history", VERSION, asdict(history))
        checkpoint.save(self.path(f"{stage}/model"), model, {"stage": stage, "seed": self.seed})
        shutil.rmtree(Path(self.folder) / stage / "steps", ignore_errors=True)

    def once(self, name: str, make: Callable[[], list | dict]) -> list | dict:
        """Give the data of this name: made and written the first time, read after that."""
        if not self.path(name).exists():
            content = make()
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path(name), "data", VERSION, content)
        return read_json(self.path(name), "data", VERSION)


SHIPPED = Run(DATA / "r1/seed-0")       # the tokenizer and four of the models: base, zero, r1, student


# ----------------------------------------------------------------------------------------- what the stages are made of
# Each of `pretrain`, `practise` and `tune` leaves a stage's model and history, unless that is done.


def pretrain(
    run: Run,
    stage: str,
    model: Callable[[int], nn.Module],
    phases: Sequence[Iterable[Document]],
    settings: TrainSettings,
    pattern: str = bpe.WORD_PATTERN,
    phase_steps: Sequence[int] = (),
) -> None:
    """Train the language model that `model(n_vocab)` makes; the first to do so learns the tokenizer from its texts.

    `phases` are the pages to read one after the other, `phase_steps` how many steps each but the last takes: a
    curriculum. A mixture of experts is kept balanced as V3 is.
    """
    if run.done(stage):
        return
    texts = [[page.text for page in pages] for pages in phases]
    learn_tokenizer(run, texts[-1], pattern)
    batches = [packed(run, documents) for documents in texts]
    torch.manual_seed(run.seed)
    learner = model(run.tokenizer().n_vocab).to(run.device)
    history = train(
        learner, partial(phases_in_turn, batches, phase_steps), settings,
        checkpoints=run.checkpoints(stage, every=200), **(balanced(settings) if moe_layers(learner) else {}),
    )  # fmt: skip
    run.keep(stage, learner, history)


def learn_tokenizer(run: Run, texts: Sequence[str] | None = None, pattern: str = bpe.WORD_PATTERN) -> None:
    """Learn the run's tokenizer from a third of the texts (by default of `pages`), unless there is one."""
    path = run.path("base/tokenizer")
    if not path.exists():
        texts = [page.text for page in pages(run)] if texts is None else texts
        path.parent.mkdir(parents=True, exist_ok=True)
        bpe.train(texts[: len(texts) // 3], run.recipe.vocab_size, pattern, SPECIAL_TOKENS).save(path)


def packed(run: Run, documents: Sequence[str]) -> Callable[[int], Iterator]:
    """Give batches of these documents, packed whole, as a function of the number of batches to skip."""
    tokenizer, r = run.tokenizer(), run.recipe
    ids = (tokenizer.encode(document, allowed_special="all") for document in documents)
    rows = pack_whole_documents(ids, r.window, tokenizer.special_tokens[END_OF_TEXT])
    return partial(shuffled_rows, *rows, r.batch_size, run.seed)


def balanced(settings: TrainSettings) -> dict:
    """Give what `train` needs to keep experts balanced: the objective of V3, and its bias."""
    speed = lambda step: 0.01 * settings.share_of_peak(step / settings.steps)       # noqa: E731
    return {"objective": deepseek_objective(sequence=1e-4), "on_step": balance_by_bias(speed)}


def pages(run: Run) -> Iterable[Document]:
    """Write the small web on which most people guess."""
    return small_web.documents(run.recipe.megabytes, run.seed, run.recipe.mixture, run.recipe.chains)


def early_pages(run: Run) -> Iterable[Document]:
    """Write other pages, on which more people work their sums out."""
    r, chains = run.recipe, run.recipe.chains
    diligent = replace(chains, worked=min(1.0, r.early_work * chains.worked))
    return small_web.documents(r.megabytes, run.seed + EARLY_SEED, r.mixture, diligent)


def pretraining(steps: int) -> TrainSettings:
    """Give the settings of pre-training: Muon, fifty steps to warm up, the last 40 % to cool down."""
    return TrainSettings(steps, warmup=min(0.5, 50 / steps), decay=0.4)


def practise(run: Run, stage: str, start: str, task: Task, settings: GRPOSettings, seed: int = 0) -> None:
    """Reinforcement learning from the model that the stage `start` has left; keeps samples of the way.

    `seed` is added to the run's: with the same one, two stages are asked the same questions.
    """
    if run.done(stage):
        return
    model, shown = run.load(start), {1, *range(10, settings.steps + 1, 10)}
    history = grpo(
        model, run.tokenizer(), task, settings, seed=run.seed + seed, checkpoints=run.checkpoints(stage, every=10),
        keep_samples_at=shown,
    )  # fmt: skip
    run.keep(stage, model, history)


def tune(
    run: Run, stage: str, start: str, pairs: Sequence[Sequence[str]], steps: int, muon_lr: float | None = None
) -> None:
    """Supervised fine-tuning of the model that the stage `start` has left, on pairs of question and answer."""
    if run.done(stage):
        return
    model, tokenizer = run.load(start), run.tokenizer()
    dialogues = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": text}] for question, text in pairs
    ]
    settings = recipe(steps, optimiser="muon", muon_lr=muon_lr) if muon_lr else recipe(steps)
    history = sft(
        model, examples(tokenizer, dialogues), settings, batch_size=64, seed=run.seed,
        checkpoints=run.checkpoints(stage, every=100),
    )  # fmt: skip
    run.keep(stage, model, history)


def readable(question: Question, text: str) -> bool:
    """Tell whether an answer is right, well-formed, and in English only: worth being learnt from."""
    return bool(verify(question.truth, text)) and is_well_formed(text) and languages(text) == {"english"}


def gather(run: Run, teacher: str, n_questions: int, n_samples: int, good: maths.Filter = readable) -> list:
    """Let a model answer fresh sums and keep a good answer for each, if there is one, as pairs of texts."""
    rng = Random(f"{run.seed}/{teacher}/{n_questions}")
    questions = [maths.draw_question(rng) for _ in range(n_questions)]
    texts, _ = in_parts(run.load(teacher), run.tokenizer(), questions, n_samples=n_samples, seed=run.seed)
    return [(question.text, text) for question, text in maths.keep_one(questions, texts, good)]


def sums_and_chats(judge: RewardModel, tokenizer: bpe.Tokenizer, share_of_chats: float = 0.25) -> Task:
    """Make the last task: sums are rated by rules, chats by the reward model."""
    rules, sums = weighted(REASONING_REWARDS), maths.task(REASONING_REWARDS)

    def draw(rng: Random) -> Question:
        return preferences.draw_question(rng) if rng.random() < share_of_chats else maths.draw_question(rng)

    def reward(questions: Sequence[Question], answers: Sequence[str]) -> list[float]:
        both = list(zip(questions, answers, strict=True))
        scores = iter(judged(judge, tokenizer, [chat for chat in both if not is_sum(chat[0])]))
        return [rules(question.truth, text) if is_sum(question) else next(scores) for question, text in both]

    def measure(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
        of_sums = [(question, text) for question, text in zip(questions, answers, strict=True) if is_sum(question)]
        return sums.measure(*zip(*of_sums, strict=True)) if of_sums else {}

    return Task(draw, reward, measure)


def is_sum(question: Question) -> bool:
    return isinstance(question.truth, Chain)


@torch.no_grad()
def judged(judge: RewardModel, tokenizer: bpe.Tokenizer, chats: Sequence[tuple[Question, str]]) -> list[float]:
    """Score answers to questions with a reward model."""
    whole = [prompt(tokenizer, question.text) + preferences.completion(tokenizer, text) for question, text in chats]
    return judge.score(whole).tolist() if whole else []


def answer_chats(
    run: Run, name: str, questions: Sequence[Question], n_samples: int, temperature: float = 1.0
) -> list[str]:
    """Let the model of a stage answer questions about facts, `n_samples` times each."""
    options = {"n_samples": n_samples, "temperature": temperature, "max_new_tokens": 32, "seed": run.seed}
    return in_parts(run.load(name), run.tokenizer(), questions, **options)[0]


def compared(run: Run, also: str | None) -> list[preferences.Preference]:
    """Let the annotator compare pairs of chat answers.

    Two of the base; or, in two thirds of the pairs, one or both of the model of the stage `also`, some of them drawn at
    a high temperature: a reward model must know the answers that it will be asked about, and worse ones.
    """
    rng = Random(f"{run.seed}/compared/{also}")
    questions = [preferences.draw_question(rng) for _ in range(run.recipe.n_pairs)]
    answers = answer_chats(run, "base", questions, n_samples=2)
    if also:
        own, wild = (answer_chats(run, also, questions, 1, temperature) for temperature in (1.0, 1.7))
        answers[0::6], answers[2::6], answers[3::6] = own[0::3], own[1::3], wild[1::3]
    return preferences.pairs(rng, questions, answers)


def judge_of(run: Run, name: str, also: str | None = None) -> RewardModel:
    """Train a reward model on what the annotator chose, the first time; read it after that."""
    build = lambda numbers: RewardModel(DeepSeekV3(DeepSeekSettings(**numbers)))       # noqa: E731
    if not run.path(name).exists():
        pairs = preferences.encode(run.tokenizer(), compared(run, also))
        trained = train_reward_model(run.load("base"), pairs, run.recipe.judge_steps, seed=run.seed)
        checkpoint.save(run.path(name), trained.model, {"pairs": len(pairs), "accuracy": trained.accuracy})
    return checkpoint.load(run.path(name), build)[0].to(run.device)


def best_chats(run: Run, judge: RewardModel, name: str, n_questions: int, n_samples: int = 16) -> list:
    """Let the model of a stage answer questions about facts; keep the answer to each that the judge likes best."""
    rng = Random(f"{run.seed}/best chats")
    questions = [preferences.draw_question(rng) for _ in range(n_questions)]
    answers = answer_chats(run, name, questions, n_samples)
    chats = list(zip([question for question in questions for _ in range(n_samples)], answers, strict=True))
    scores = judged(judge, run.tokenizer(), chats)
    best = [max(range(i, i + n_samples), key=scores.__getitem__) for i in range(0, len(chats), n_samples)]
    return [(question.text, text) for question, text in (chats[i] for i in best) if may_be_said(text)]


def may_be_said(text: str) -> bool:
    """Tell whether an answer is one line, no blank, and holds no token that `chat.render` refuses."""
    return bool(text.strip()) and not any(token in text for token in (END_OF_TEXT, PAD)) and "\n" not in text


def chat_manners(run: Run, name: str, judge: RewardModel | None = None, n: int = 500) -> dict[str, float]:
    """Measure how a stage answers questions about facts: the shares of `preferences.measure`, and the judge's score."""
    rng = Random(EVALUATION_SEED)
    questions = [preferences.draw_question(rng) for _ in range(n)]
    answers = answer_chats(run, name, questions, n_samples=1)
    scores = judged(judge, run.tokenizer(), list(zip(questions, answers, strict=True))) if judge else []
    return preferences.measure(questions, answers) | ({"score": mean_or_zero(scores)} if judge else {})


# -------------------------------------------------------------------------------------------------------- the stages


def base(run: Run) -> None:
    """V3-Base: latent attention, a mixture of experts, trained on the small web."""
    r = run.recipe
    model = lambda n_vocab: DeepSeekV3(DeepSeekSettings(n_vocab, r.context, **r.base))     # noqa: E731
    settings, early = pretraining(r.base_steps), round(r.early_share * r.base_steps)
    pretrain(run, "base", model, [early_pages(run), pages(run)], settings, phase_steps=[early])


def zero(run: Run) -> None:
    """R1-Zero: the base, practising sums; right and well-formed answers earn rewards, nothing else does."""
    practise(run, "zero", "base", maths.task(ZERO_REWARDS), run.recipe.zero)


def cold_start(run: Run) -> None:
    """The base again, tuned on a few readable answers of R1-Zero."""
    pairs = run.once("cold-start/answers", lambda: gather(run, "zero", run.recipe.cold_questions, n_samples=4))
    tune(run, "cold-start", "base", pairs, run.recipe.cold_steps)


def reasoning(run: Run) -> None:
    """The model with a cold start, practising sums with a reward for one language as well."""
    practise(run, "reasoning", "cold-start", maths.task(REASONING_REWARDS), run.recipe.reasoning)


def supervised(run: Run) -> None:
    """The base a third time, tuned on the best answers so far: to sums by rule, to chats by a reward model."""
    r = run.recipe
    sums = run.once("sft/sums", lambda: gather(run, "reasoning", r.sft_questions, n_samples=4))
    tune(run, "sft", "base", sums + chats_to_learn(run), r.sft_steps)


def chats_to_learn(run: Run) -> list:
    """Give the base's answers to questions about facts that a reward model likes best; needs the base alone."""
    return run.once("sft/chats", lambda: best_chats(run, judge_of(run, "sft/judge"), "base", run.recipe.n_chats))


def final(run: Run) -> None:
    """R1: the tuned model, practising sums by rule and chats by a reward model that knows its own answers."""
    judge = judge_of(run, "r1/judge", "sft")
    practise(run, "r1", "sft", sums_and_chats(judge, run.tokenizer()), run.recipe.r1)


def small_base(run: Run) -> None:
    """A small dense model, trained on the small web."""
    r = run.recipe
    model = lambda n_vocab: Llama(LlamaSettings(n_vocab, r.context, **r.small))     # noqa: E731
    pretrain(run, "small-base", model, [pages(run)], pretraining(r.small_steps))


def small_zero(run: Run) -> None:
    """The small model, practising as R1-Zero did."""
    practise(run, "small-zero", "small-base", maths.task(ZERO_REWARDS), run.recipe.small_zero)


def student(run: Run) -> None:
    """The small model, tuned on R1's right and readable answers: distillation."""
    pairs = run.once("student/answers", lambda: gather(run, "r1", run.recipe.student_questions, n_samples=1))
    tune(run, "student", "small-base", pairs, run.recipe.student_steps, muon_lr=0.01)


STAGES: dict[str, Callable[[Run], None]] = {
    "base": base, "zero": zero, "cold-start": cold_start, "reasoning": reasoning, "sft": supervised, "r1": final,
    "small-base": small_base, "small-zero": small_zero, "student": student,
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ what came out


def evaluation(run: Run) -> dict:
    """Measure what every stage has left, on sums that no stage has seen and questions about the facts of the chats."""
    return {
        "stages": {name: evaluation_part(run, name) for name in STAGES},
        "at k": evaluation_part(run, "at-k"),
        "longer sums": evaluation_part(run, "longer-sums"),
    }


def evaluation_part(run: Run, part: str) -> dict:
    """Measure one stage, or answer many times ("at-k") or longer sums ("longer-sums"), unless that is done."""
    parts = {
        "at-k": lambda: {name: maths.at_k(run.load(name), run.tokenizer()) for name in ("base", "zero")},
        "longer-sums": lambda: longer_sums(run, "r1"),
    }
    return run.once(f"evaluation/{part}", parts.get(part, lambda: measures_of(run, part)))


def measures_of(run: Run, stage: str, n: int = 1000) -> dict:
    """Measure one stage on `n` sums, and on chats if it is no small one."""
    model, tokenizer = run.load(stage), run.tokenizer()
    found = {
        "sums": maths.evaluate(model, tokenizer, n),
        "sums, greedy": maths.evaluate(model, tokenizer, n, temperature=0.0),
    }
    return found if stage in SMALL else found | {"chats": chat_manners(run, stage)}


def longer_sums(run: Run, name: str, n: int = 200) -> dict[str, float]:
    """Give the accuracy by how many numbers a sum has; the corpus and the practice stop at six."""
    tokenizer, model = run.tokenizer(), run.load(name)
    scores = {}
    for length in (3, 4, 5, 6, 7, 8):
        questions = maths.held_out(n, lengths=(length,))
        texts, _ = in_parts(model, tokenizer, questions, max_new_tokens=120)
        scores[str(length)] = maths.measure(questions, texts)["accuracy"]
    return scores
