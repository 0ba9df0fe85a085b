"""A step of GRPO beside TRL's GRPOTrainer, and PPO beside GRPO: seconds, and what is kept in
memory.

    OMP_NUM_THREADS=1 python -m benchmarks.grpo

A step samples, rates and learns, on one thread, by CPU seconds. Beside TRL both start from the same
weights and answer the same questions for the same reward; ours takes its steps in between those of
TRL's own loop. "Equal work": an end of text that is never drawn makes all answers equally long, and
no two earn the same. The shipped student ends its answers; it shows what it saves to stop with
them, and, rated by rules, to skip answers that are all right or all wrong.
"""

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import partial
from itertools import cycle
from random import Random
from typing import NamedTuple

os.environ |= {
    "COURSE_QUIET": "1",
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}

import datasets  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from torch import nn  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

from benchmarks.measure import cpu_seconds  # noqa: E402
from course_lib.alignment.grpo import GRPO_PRESET, GRPOSettings, group_advantages, grpo_step  # noqa: E402
from course_lib.alignment.ppo import Critic, PPOSettings, ppo_step  # noqa: E402
from course_lib.alignment.rl_loop import PolicyUpdate, completion_metrics, run_rl, sample_rollouts
from course_lib.alignment.rl_task import Question, RLTask, question_prompt_ids  # noqa: E402
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.files import markdown_table  # noqa: E402
from course_lib.inference.rollout import Completions  # noqa: E402
from course_lib.models.hf_files import save_hf  # noqa: E402
from course_lib.models.hf_tokenizer import save_hf_tokenizer  # noqa: E402
from course_lib.models.llama import Llama, LlamaSettings  # noqa: E402
from course_lib.tasks import arithmetic  # noqa: E402
from course_lib.tasks.arithmetic import ZERO_REWARDS  # noqa: E402
from course_lib.text.chat import END_OF_TEXT  # noqa: E402

TOKENIZER = SHIPPED_R1.tokenizer()
SIZE = {
    "vocab_size": TOKENIZER.n_vocab,
    "max_seq_len": 128,
    "d_model": 64,
    "n_layers": 3,
    "n_heads": 4,
}
RATE = 1e-6  # of learning: so low that the first step and the last one have the same to do


class Work(NamedTuple):
    """What one step does: how many questions, answers to each, tokens of an answer (at most), and
    updates.

    `beta` weighs the distance from a reference model; at 0 there is none. In `exact` work all
    answers are of full length.
    """

    n_questions: int
    group_size: int
    n_tokens: int
    n_updates: int
    beta: float
    exact: bool = True

    def numbers(self) -> dict:
        """Say this in the words of our settings."""
        return {
            "n_questions": self.n_questions,
            "group_size": self.group_size,
            "max_new_tokens": self.n_tokens,
            "n_minibatches": self.n_updates,
            "beta": self.beta,
        }

    def __str__(self) -> str:
        return f"{self.n_questions} x {self.group_size} x {self.n_tokens}"


SMALL = Work(8, 4, 16, n_updates=1, beta=0.0)
LARGE = Work(16, 8, 64, n_updates=1, beta=0.0)
USUAL = Work(16, 8, 64, n_updates=2, beta=0.005)  # as the course practises


# The same task for all
# ----------------------------------------------------------------------------------------------


def by_chance(questions: Sequence[Question], answers: Sequence[str]) -> list[float]:
    """Rate answers at random: no two earn the same, so all are learnt from."""
    return torch.rand(len(answers)).tolist()


def task(reward: Callable, n_questions: int) -> RLTask:
    """Make the task of answering these many sums, one after the other, and again."""
    questions = cycle(
        [arithmetic.draw_arithmetic_question(Random(seed)) for seed in range(n_questions)]
    )
    return RLTask(lambda _: next(questions), reward)


def never_ending() -> Llama:
    """Make a model that never ends its answer: one channel of every token speaks against it."""
    model, end = Llama(LlamaSettings(**SIZE)), TOKENIZER.special_tokens[END_OF_TEXT]
    with torch.no_grad():
        model.token_embedding.weight[:, 0] = 0.1
        model.head.weight[end] = 0.0
        model.head.weight[end, 0] = -1000.0
    return model


def adam(module: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer that `grpo` and `ppo` use."""
    return torch.optim.AdamW(
        module.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )


# Theirs
# --------------------------------------------------------------------------------------------------


def config(folder: str, work: Work, n_steps: int) -> GRPOConfig:
    """Tell TRL to do the same work, and nothing beside it: no logs, no checkpoints, no recomputing
    to save memory."""
    return GRPOConfig(
        output_dir=folder,
        max_steps=n_steps * work.n_updates,
        num_generations=work.group_size,
        per_device_train_batch_size=work.n_questions * work.group_size // work.n_updates,
        steps_per_generation=work.n_updates,
        max_completion_length=work.n_tokens,
        temperature=1.0,
        beta=work.beta,
        loss_type="grpo",
        learning_rate=RATE,
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        max_grad_norm=1.0,
        use_cpu=True,
        bf16=False,
        model_init_kwargs={"dtype": "float32"},
        gradient_checkpointing=False,
        shuffle_dataset=False,
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def trainer(folder: str, work: Work, reward: Callable, n_steps: int) -> GRPOTrainer:
    """Give TRL's trainer of the model in a folder."""
    n_questions = work.n_questions * n_steps
    sums = task(reward, n_questions)
    asked = [sums.draw(Random()) for _ in range(n_questions)]
    texts = [TOKENIZER.decode(question_prompt_ids(TOKENIZER, question.text)) for question in asked]
    question_of = dict(zip(texts, asked, strict=True))

    def rate(prompts, completions, completion_ids, **_) -> list[float]:
        check_lengths(work, map(len, completion_ids))
        return reward([question_of[text] for text in prompts], completions)

    save_hf_tokenizer(TOKENIZER, folder, SIZE["max_seq_len"])
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    made = GRPOTrainer(
        folder,
        rate,
        config(folder, work, n_steps),
        train_dataset=datasets.Dataset.from_dict({"prompt": texts}),
        processing_class=theirs,
    )
    made.remove_callback(transformers.PrinterCallback)
    return made


def check_lengths(work: Work, lengths: Iterable[int]) -> None:
    """Raise an AssertionError if the work is to be exact and an answer is shorter than it may
    be."""
    if work.exact and (found := set(lengths)) != {work.n_tokens}:
        raise AssertionError(
            f"answers of {sorted(found)} tokens, where all must have {work.n_tokens}"
        )


def check_same(ours: nn.Module, theirs: GRPOTrainer) -> None:
    """Raise an AssertionError unless both read the same tokens and score them alike.

    In float64, but transformers' norms and rotary tables stay in float32: that is what is left.
    """
    exact, their_exact = deepcopy(ours).double(), deepcopy(theirs.model).double()
    for text in theirs.train_dataset["prompt"]:
        ids = TOKENIZER.encode(text, allowed_special="all")
        if theirs.processing_class(text)["input_ids"] != ids:
            raise AssertionError(f"the tokens of {text!r} differ")
        with torch.no_grad():
            got, want = exact(torch.tensor([ids])), their_exact(torch.tensor([ids])).logits
        torch.testing.assert_close(got, want.double(), rtol=1e-5, atol=1e-4)


class Turns(transformers.TrainerCallback):
    """Take a step of ours after each of theirs, and count the CPU seconds of both; the first turn
    warms up."""

    def __init__(self, step: Callable[[], float], n_updates: int) -> None:
        self.step, self.n_updates = step, n_updates
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self.used: list[float] = []

    def on_train_begin(self, args, state, control, **_) -> None:
        self.start = time.process_time()

    def on_step_end(self, args, state, control, **_) -> None:
        if state.global_step % self.n_updates == 0:
            ended = time.process_time()
            self.theirs.append(ended - self.start)
            self.used.append(self.step())
            self.start = time.process_time()
            self.ours.append(self.start - ended)

    def quartiles(self) -> tuple[float, float]:
        """Give the lower quartiles, ours first, as `cpu_seconds` does."""
        ours, theirs = (sorted(times[1:]) for times in (self.ours, self.theirs))
        return ours[len(ours) // 4], theirs[len(theirs) // 4]


# Ours
# --------------------------------------------------------------------------------------------------


def with_groups(
    model: nn.Module, settings: GRPOSettings
) -> tuple[PolicyUpdate, list[nn.Module], list]:
    """Give what `grpo` is made of: how it learns, and the models and optimizers that it keeps."""
    reference = deepcopy(model).requires_grad_(False) if settings.beta else None
    optimizer = adam(model)

    def learn(
        completions: Completions, rewards: torch.Tensor, generator: torch.Generator
    ) -> dict[str, float]:
        advantages = group_advantages(rewards, settings.group_size, settings.scale_by_std)
        return grpo_step(model, reference, optimizer, completions, advantages, settings, generator)

    return learn, [model, reference] if reference else [model], [optimizer]


def with_critic(
    model: nn.Module, settings: PPOSettings, n_layers: int | None = None
) -> tuple[PolicyUpdate, list[nn.Module], list]:
    """Give what `ppo` is made of, with a critic of so many of the policy's layers (None: all)."""
    reference, critic = deepcopy(model).requires_grad_(False), Critic(model, n_layers)
    optimizers = [adam(model), adam(critic)]

    def learn(
        completions: Completions, rewards: torch.Tensor, generator: torch.Generator
    ) -> dict[str, float]:
        return ppo_step(
            model, critic, reference, optimizers, completions, rewards, settings, generator
        )

    return learn, [model, reference, critic], optimizers


def steps(model: nn.Module, work: Work, reward: Callable, n_steps: int) -> Callable[[], float]:
    """Give our step as `run_rl` takes it. It returns the share of the answers that were learnt
    from."""
    settings = GRPOSettings(n_steps, **(GRPO_PRESET | work.numbers()))
    generator = torch.Generator().manual_seed(0)
    learn, _, _ = with_groups(model, settings)
    sums = task(reward, work.n_questions * n_steps)

    def step() -> float:
        samples = sample_rollouts(model, TOKENIZER, sums, settings, Random(0), generator)
        measures = learn(samples.completions, samples.rewards, generator) | completion_metrics(
            samples.completions
        )
        check_lengths(work, samples.completions.lengths.tolist())
        return measures["used"]

    return step


# The tables
# --------------------------------------------------------------------------------------------------


def turns(model: nn.Module, reward: Callable, work: Work, n_steps: int) -> Turns:
    """Let both take their steps from the same weights."""
    with tempfile.TemporaryDirectory() as folder:
        save_hf(model, folder)
        theirs = trainer(folder, work, reward, n_steps)
        check_same(model, theirs)
        taken = Turns(steps(model, work, reward, n_steps), work.n_updates)
        theirs.add_callback(taken)
        theirs.train()
    return taken


def beside_trl() -> str:
    """Compare a step of ours with one of TRL's: equal work of three kinds, then a model that ends
    its answers."""
    student = SHIPPED_R1.load("student")
    rules = arithmetic.arithmetic_task(ZERO_REWARDS).reward
    ending = USUAL._replace(exact=False)
    compared = [
        ("equal work", never_ending(), by_chance, SMALL, 41),
        ("equal work", never_ending(), by_chance, LARGE, 13),
        ("equal work", never_ending(), by_chance, USUAL, 13),
        ("the student, rated by chance", student, by_chance, ending, 17),
        ("the student, rated by rules", student, rules, ending, 17),
    ]
    rows = []
    for what, model, reward, work, n_steps in compared:
        taken = turns(model, reward, work, n_steps)
        (ours, theirs), used = taken.quartiles(), sum(taken.used) / n_steps
        times = [f"{ours:.3f}", f"{theirs:.3f}", f"{theirs / ours:.1f}"]
        rows.append([what, work, work.n_updates, work.beta, f"{used:.0%}", *times])
    header = ["GRPO, s per step", "questions x answers x tokens", "updates", "beta", "learnt from"]
    return markdown_table([*header, "ours", "TRL", "ratio"], rows)


def kept(models: Sequence[nn.Module], optimizers: Sequence[torch.optim.Optimizer]) -> int:
    """Count the bytes that stay from step to step: parameters, and what the optimizers remember of
    each."""
    parameters = [parameter for model in models for parameter in model.parameters()]
    states = [
        value
        for optimizer in optimizers
        for state in optimizer.state.values()
        for value in state.values()
    ]
    return sum(tensor.nbytes for tensor in parameters + states)


def ppo_beside_grpo(n_steps: int = 3) -> str:
    """Compare what a step takes, and what is kept, in units of the policy's own bytes too."""
    kinds = {
        "GRPO": (with_groups, GRPOSettings),
        "PPO": (with_critic, PPOSettings),
        "PPO, its critic one layer of three": (partial(with_critic, n_layers=1), PPOSettings),
    }
    made, runs = {}, {}
    for name, (build, kind) in kinds.items():
        model, settings = never_ending(), kind(n_steps, **USUAL.numbers(), lr=RATE)
        learn, *made[name] = build(model, settings)
        sums, optimizers = task(by_chance, USUAL.n_questions), made[name][1]
        runs[name] = partial(run_rl, model, TOKENIZER, sums, settings, learn, optimizers)
    spent, policy, rows = cpu_seconds(runs), kept([never_ending()], []), []
    bytes_of = {name: kept(*both) for name, both in made.items()}
    for name in kinds:
        seconds, n_bytes = spent[name] / n_steps, bytes_of[name]
        times = [f"{seconds:.3f}", f"{spent[name] / spent['GRPO']:.2f}"]
        memory = [
            f"{n_bytes / 1e6:.2f}",
            f"{n_bytes / policy:.1f}",
            f"{n_bytes / bytes_of['GRPO']:.2f}",
        ]
        rows.append([name, *times, len(made[name][0]), *memory])
    header = [
        str(USUAL),
        "s per step",
        "by GRPO",
        "models",
        "MB kept",
        "by the policy alone",
        "by GRPO",
    ]
    return markdown_table(header, rows)


def main() -> str:
    """Measure all; return the tables."""
    warnings.simplefilter("ignore", FutureWarning)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    return "\n\n".join([beside_trl(), ppo_beside_grpo()])


if __name__ == "__main__":
    print(main())
