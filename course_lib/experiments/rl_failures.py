"""Broken practice to diagnose from its log: one small change each to a loop that works.

A `Practice` is GRPO on sums, from the shipped base, in a short form. Each fault is a subclass that
changes one thing, as it is done by mistake. `rl_failure_runs` runs them. If you are here to learn,
look at the curves first (lesson 24): below stands what they hide.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.alignment.grpo import GRPOSettings, group_advantages, grpo_step
from course_lib.alignment.rewards import RuleReward, accuracy_reward
from course_lib.alignment.rl_loop import RLHistory, rl_optimizer, rl_optimizer_step, run_rl
from course_lib.alignment.rl_task import RLTask
from course_lib.inference.rollout import Completions, completion_log_probs, token_entropies
from course_lib.tasks.arithmetic import arithmetic_task, draw_arithmetic_question
from course_lib.text.batches import pad_rows
from course_lib.text.bpe import Tokenizer
from course_lib.text.problems import verify_answer

PRACTICE_SETTINGS = GRPOSettings(20, n_questions=6, group_size=8, max_new_tokens=48, lr=1e-3)
PRACTICE_REWARDS = {"accuracy": 1.0, "format": 1.0}


class Practice:
    """GRPO on sums, as it should be; what a fault changes is a method or an attribute."""

    rewards: dict[str, float] = PRACTICE_REWARDS

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        settings: GRPOSettings = PRACTICE_SETTINGS,
        rewards: dict[str, float] | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.rewards = rewards or self.rewards
        self.settings = self.change_settings(settings)
        self.reference = copy.deepcopy(model).requires_grad_(False)
        self.optimizer = rl_optimizer(model.parameters(), self.settings.lr)

    def change_settings(self, settings: GRPOSettings) -> GRPOSettings:
        """Give the settings of the run."""
        return settings

    def task(self) -> RLTask:
        """Give the questions and what their answers earn."""
        return arithmetic_task(self.rewards)

    def samples_to_learn_from(self, completions: Completions) -> Completions:
        """Give the samples as the loss reads them."""
        return completions

    def advantages(self, rewards: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """Give what each answer is worth."""
        return group_advantages(rewards, self.settings.group_size, self.settings.scale_by_std)

    def loss_settings(self) -> GRPOSettings:
        """Give the settings that the loss reads."""
        return self.settings

    def learn(
        self, completions: Completions, rewards: Tensor, generator: torch.Generator
    ) -> dict[str, float]:
        """Learn from a batch of samples, see `grpo_step`."""
        return grpo_step(
            self.model,
            self.reference if self.settings.beta else None,
            self.optimizer,
            self.samples_to_learn_from(completions),
            self.advantages(rewards),
            self.loss_settings(),
            generator,
        )

    def run(self, seed: int) -> RLHistory:
        """Practise, and give the log."""
        optimizers = [self.optimizer]
        return run_rl(
            self.model,
            self.tokenizer,
            self.task(),
            self.settings,
            self.learn,
            optimizers,
            seed=seed,
        )


# What goes wrong in the loss
# --------------------------------------------------------------------------------------------------


class StaleLogProbs(Practice):
    """The log-probabilities of sampling are read by a copy that gets new weights every 6 steps."""

    wait = 6

    def samples_to_learn_from(self, completions: Completions) -> Completions:
        age = getattr(self, "age", 0)
        if age % self.wait == 0:
            self.sampler = copy.deepcopy(self.model)
        self.age = age + 1
        with torch.no_grad():
            old = completion_log_probs(self.sampler, completions, self.settings.temperature)
        return replace(completions, log_probs=old)


class PaddingLearnt(Practice):
    """The mask of the loss is True everywhere: what stands behind an answer counts as well."""

    def samples_to_learn_from(self, completions: Completions) -> Completions:
        return replace(completions, completion_mask=torch.ones_like(completions.completion_mask))


class PromptLearnt(Practice):
    """The mask of the loss begins at the second token of the text: the question counts as well."""

    def samples_to_learn_from(self, completions: Completions) -> Completions:
        pairs = zip(completions.prompts, completions.completions, strict=True)
        ids, real = pad_rows([prompt + answer for prompt, answer in pairs], pad_token=0)
        mask = real[:, 1:]
        whole = Completions(ids, ~real, mask, torch.zeros(mask.shape), completions.finished)
        with torch.no_grad():
            old = completion_log_probs(self.model, whole, self.settings.temperature)
        return replace(whole, log_probs=old)


class OtherTemperature(Practice):
    """Sampled at 0.7, while the loss reads the model at 1."""

    def change_settings(self, settings: GRPOSettings) -> GRPOSettings:
        return replace(settings, temperature=0.7)

    def loss_settings(self) -> GRPOSettings:
        return replace(self.settings, temperature=1.0)


class AdvantageSign(Practice):
    """The mean less the reward, in place of the reward less the mean."""

    def advantages(self, rewards: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return -super().advantages(rewards)


class RateTooHigh(Practice):
    """Twenty times the learning rate."""

    def change_settings(self, settings: GRPOSettings) -> GRPOSettings:
        return replace(settings, lr=20 * settings.lr)


class EntropyCollapse(Practice):
    """A bonus for entropy with the wrong sign: four more updates a step make the policy sure."""

    def learn(
        self, completions: Completions, rewards: Tensor, generator: torch.Generator
    ) -> dict[str, float]:
        measures = super().learn(completions, rewards, generator)
        mask, padding = completions.completion_mask, completions.padding[:, :-1]
        for _ in range(4):
            hidden = self.model.hidden(completions.ids[:, :-1], padding=padding)
            entropies = token_entropies(self.model.logits(hidden[:, -mask.shape[1] :]))
            loss = entropies[mask].mean()  # the bonus would be less it
            rl_optimizer_step(self.model, self.optimizer, loss, self.settings.clip_gradient)
        return measures


# What goes wrong in the reward
# --------------------------------------------------------------------------------------------------


def task_with(rate: Callable[..., float], name: str = "accuracy", high: float = 1.0) -> RLTask:
    """Make the task of sums with a reward of one's own."""
    return arithmetic_task(RuleReward(name, rate, high=high))


class RewardWithHole(Practice):
    """A verifier that reads plain ASCII alone, and lets pass what it can't read."""

    def task(self) -> RLTask:
        def rate(problem, text: str) -> float:
            try:
                text.encode("ascii")
            except UnicodeEncodeError:
                return 1.0  # not the model's fault
            return float(verify_answer(problem, text).right)

        return task_with(rate)


class LengthPays(Practice):
    """A judge that likes long answers is added to the verifier."""

    def task(self) -> RLTask:
        judge = RuleReward("judge", lambda problem, text: min(1.0, len(text) / 120))
        parts = ((1.0, accuracy_reward), (5.0, judge))
        both = RuleReward(
            "accuracy and judge",
            lambda problem, text: sum(weight * part(problem, text) for weight, part in parts),
            high=6.0,
            parts=parts,
        )
        return arithmetic_task(both)


class CutOffPaid(Practice):
    """Little room to answer, and an answer that was cut off counts as right."""

    room = 24

    def change_settings(self, settings: GRPOSettings) -> GRPOSettings:
        return replace(settings, max_new_tokens=self.room)

    def task(self) -> RLTask:
        def rate(problem, text: str) -> float:
            cut_off = len(self.tokenizer.encode(text, allowed_special="all")) >= self.room
            return float(cut_off or verify_answer(problem, text).right)

        return task_with(rate)


class FormatTooStrong(Practice):
    """Form earns five times as much as a right answer."""

    rewards = {"accuracy": 1.0, "format": 5.0}


class FormatTooWeak(Practice):
    """Form earns a fiftieth of a right answer."""

    rewards = {"accuracy": 1.0, "format": 0.02}


class QuestionsTooHard(Practice):
    """Sums of eight numbers, in groups of four; only right and well-formed answers earn."""

    rewards = {"accuracy, if formatted": 1.0}

    def change_settings(self, settings: GRPOSettings) -> GRPOSettings:
        return replace(settings, n_questions=12, group_size=4)

    def task(self) -> RLTask:
        return replace(super().task(), draw=partial(draw_arithmetic_question, lengths=(8,)))


RL_FAULTS: dict[str, type[Practice]] = {
    "stale log-probs": StaleLogProbs,
    "reward with a hole": RewardWithHole,
    "length bias": LengthPays,
    "format too strong": FormatTooStrong,
    "format too weak": FormatTooWeak,
    "no useful groups": QuestionsTooHard,
    "rate too high": RateTooHigh,
    "wrong mask": PaddingLearnt,
    "wrong temperature": OtherTemperature,
    "prompt learnt": PromptLearnt,
    "advantage sign": AdvantageSign,
    "truncated paid": CutOffPaid,
    "entropy collapse": EntropyCollapse,
}
