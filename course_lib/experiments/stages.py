"""What the stages of every experiment are made of: pre-training, fine-tuning and RL.

Each of `pretrain_stage`, `rl_stage` and `finetune_stage` leaves a stage's model and history, unless
that is done.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch
from torch import nn

from course_lib.alignment.grpo import GRPOSettings, train_grpo
from course_lib.alignment.rl_task import RLTask
from course_lib.alignment.sft import sft_examples, sft_settings, train_sft
from course_lib.experiments.run import ExperimentRun
from course_lib.tasks.demonstrations import as_dialogue
from course_lib.text import bpe
from course_lib.text.batches import pack_whole_documents, phases_in_turn, shuffled_rows
from course_lib.text.chat import END_OF_TEXT, SPECIAL_TOKENS
from course_lib.text.corpus.document import Document
from course_lib.training.deepseek_objective import balance_by_bias, deepseek_objective, moe_layers
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train


def pretrain_stage(
    run: ExperimentRun,
    stage: str,
    model: Callable[[int], nn.Module],
    phases: Sequence[Iterable[Document]],
    settings: TrainSettings,
    pattern: str = bpe.WORD_PATTERN,
    phase_steps: Sequence[int] = (),
) -> None:
    """Train the language model that `model(n_vocab)` makes.

    The first to do so learns the tokenizer from its texts. `phases` are the pages to read one after
    the other, `phase_steps` how many steps each but the last takes: a curriculum. A mixture of
    experts is kept balanced as V3 is.
    """
    if run.done(stage):
        return
    texts = [[page.text for page in pages] for pages in phases]
    learn_run_tokenizer(run, texts[-1], pattern)
    batches = [packed_batches(run, documents) for documents in texts]
    torch.manual_seed(run.seed)
    learner = model(run.tokenizer().n_vocab).to(run.device)
    history = train(
        learner,
        partial(phases_in_turn, batches, phase_steps),
        settings,
        checkpoints=run.checkpoints(stage, every=200),
        **(balanced_training(settings) if moe_layers(learner) else {}),
    )
    run.keep(stage, learner, history)


def learn_run_tokenizer(
    run: ExperimentRun, texts: Sequence[str], pattern: str = bpe.WORD_PATTERN
) -> None:
    """Learn the run's tokenizer from a third of the texts, unless there is one."""
    path = run.path("base/tokenizer")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        third = texts[: len(texts) // 3]
        bpe.train_bpe(third, run.recipe.vocab_size, pattern, SPECIAL_TOKENS).save(path)


def packed_batches(run: ExperimentRun, documents: Sequence[str]) -> Callable[[int], Iterator]:
    """Give batches of documents, packed whole, as a function of the number of batches to skip."""
    tokenizer, r = run.tokenizer(), run.recipe
    ids = (tokenizer.encode(document, allowed_special="all") for document in documents)
    rows = pack_whole_documents(ids, r.window, tokenizer.special_tokens[END_OF_TEXT])
    return partial(shuffled_rows, *rows, r.batch_size, run.seed)


def balanced_training(settings: TrainSettings) -> dict:
    """Give what `train` needs to keep experts balanced: the objective of V3, and its bias."""

    def speed(step: int) -> float:
        return 0.01 * settings.share_of_peak(step / settings.steps)

    return {"objective": deepseek_objective(sequence=1e-4), "on_step": balance_by_bias(speed)}


def pretraining_settings(steps: int) -> TrainSettings:
    """Give pre-training's settings: Muon, fifty steps to warm up, the last 40 % to cool down."""
    return TrainSettings(steps, warmup=min(0.5, 50 / steps), decay=0.4)


def rl_stage(
    run: ExperimentRun, stage: str, start: str, task: RLTask, settings: GRPOSettings, seed: int = 0
) -> None:
    """Reinforcement learning from the model of the stage `start`; keeps samples of the way.

    `seed` is added to the run's: with the same one, two stages are asked the same questions.
    """
    if run.done(stage):
        return
    model, shown = run.load(start), {1, *range(10, settings.steps + 1, 10)}
    history = train_grpo(
        model,
        run.tokenizer(),
        task,
        settings,
        seed=run.seed + seed,
        checkpoints=run.checkpoints(stage, every=10),
        keep_samples_at=shown,
    )
    run.keep(stage, model, history)


def finetune_stage(
    run: ExperimentRun,
    stage: str,
    start: str,
    pairs: Sequence[Sequence[str]],
    steps: int,
    muon_lr: float | None = None,
) -> None:
    """Fine-tune the model of the stage `start` on pairs of question and answer.

    By AdamW, or with `muon_lr` by Muon.
    """
    if run.done(stage):
        return
    model, tokenizer = run.load(start), run.tokenizer()
    dialogues = [as_dialogue(*pair) for pair in pairs]
    muon = {} if muon_lr is None else {"optimizer": "muon", "muon_lr": muon_lr}
    history = train_sft(
        model,
        sft_examples(tokenizer, dialogues),
        sft_settings(steps, **muon),
        batch_size=64,
        seed=run.seed,
        checkpoints=run.checkpoints(stage, every=100),
    )
    run.keep(stage, model, history)
