"""What labels are worth: reward models, what learns from them, and what goes wrong, three seeds.

    python -m course_lib.experiments.human_feedback --out data/human_feedback

All start from the shipped base, which answers questions about facts. The labels are those of
`labellers`; true is what the annotator's hidden rating says. Finished runs are kept in `runs.json`:
a command that was stopped goes on where it was.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from random import Random
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.alignment import best_of_n, calibration, preferences
from course_lib.alignment import reward_model as rm
from course_lib.alignment.dpo import train_dpo
from course_lib.alignment.ppo import PPOSettings, train_ppo
from course_lib.alignment.preferences import PreferencePair, PreferenceTexts
from course_lib.alignment.rl_task import EVALUATION_SEED, Question, RLTask, answer_questions
from course_lib.alignment.sft import SFTExample, sft_settings, train_sft
from course_lib.experiments import labellers
from course_lib.experiments.annotated_pairs import FEEDBACK_FOLDER
from course_lib.experiments.chats import score_chats
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.files import read_json, write_json
from course_lib.inference.rollout import completion_log_probs
from course_lib.tasks.fact_chats import annotator_quality, draw_fact_question, fact_answer_metrics
from course_lib.text.bpe import Tokenizer
from course_lib.training.trainer import train_to_the_end

FEEDBACK_RECORD = ("human feedback", 1)  # kind and version of the file
HELD_OUT_LABELS, N_HELD_OUT = 900, 1000  # pairs on which all reward models are measured
N_LABELS = 400  # as many as are shipped
LABEL_COUNTS = (32, 128, 512, 2048)
MAX_NEW_TOKENS = 32  # of an answer
WATCHED = 6  # questions whose answers are kept along a run

# What `score(questions, answers)` of a reward is.
ChatReward = Callable[[Sequence[Question], Sequence[str]], list[float]]


@cache
def base_model() -> nn.Module:
    """Read the shipped base, the reference of everything here; copy it to train."""
    return SHIPPED_R1.load("base").requires_grad_(False)


@cache
def base_tokenizer() -> Tokenizer:
    """Read the shipped tokenizer."""
    return SHIPPED_R1.tokenizer()


def fresh_policy() -> nn.Module:
    """Copy the base, to be trained."""
    return deepcopy(base_model()).requires_grad_(True)


# Reward models
# --------------------------------------------------------------------------------------------------


def judge_steps(n_labels: int) -> int:
    """Say how long to train a reward model on so many labels: longer would learn them by rote."""
    return 30 + n_labels // 12


def encoded(texts: Sequence[PreferenceTexts]) -> list[PreferencePair]:
    return preferences.encode_preferences(base_tokenizer(), texts)


def train_judge(
    texts: Sequence[PreferenceTexts],
    seed: int = 0,
    kind: Callable[[nn.Module], rm.RewardModel] = rm.RewardModel,
) -> rm.RewardModel:
    """Train a reward model on all of these labels; `kind` makes it of the base."""
    pairs, judge = encoded(texts), kind(base_model())
    rm.check_pairs(pairs, judge.settings.max_seq_len)
    batches = partial(rm.pair_batches, rm.pair_texts, pairs, 32, seed)
    settings = sft_settings(judge_steps(len(pairs)), adam_lr=1e-3)
    train_to_the_end(judge, batches, settings, rm.choice_objective)
    return judge.requires_grad_(False)


@cache
def judge_of(labeller: str, n_labels: int, seed: int) -> rm.RewardModel:
    """Train a reward model on a labeller's labels."""
    return train_judge(labellers.labels_of(labeller, seed, n_labels), seed)


@torch.no_grad()
def judged_leads(judge: rm.RewardModel, texts: Sequence[PreferenceTexts]) -> Float[Tensor, "N"]:
    """Give by how much the chosen answer leads, in score, for each of the labels."""
    ids, last = rm.pair_texts(encoded(texts))
    chosen, rejected = rm.score_pairs(judge, ids, last).T
    return chosen - rejected


def better_and_worse(pairs: Sequence[tuple]) -> list[PreferenceTexts]:
    """Give the truth as labels without noise: the better answer first; no pairs of equal worth."""
    found = []
    for fact, one, other in pairs:
        lead = annotator_quality(fact, one) - annotator_quality(fact, other)
        if lead:
            both = (one, other) if lead > 0 else (other, one)
            found.append(PreferenceTexts(fact.question, *both))
    return found


def measure_judge(judge: rm.RewardModel) -> dict[str, float]:
    """Hold a reward model against honest labels that it has not seen, and against the truth."""
    texts = labellers.labels_of("honest", HELD_OUT_LABELS, N_HELD_OUT)
    leads = judged_leads(judge, texts)
    truth = judged_leads(
        judge, better_and_worse(labellers.answer_pairs(HELD_OUT_LABELS, N_HELD_OUT))
    )
    return {
        "accuracy": rm.pair_accuracy(leads, torch.zeros_like(leads)),
        "loss": rm.bradley_terry_loss(leads, torch.zeros_like(leads)).item(),
        "calibration": calibration.choice_calibration(leads),
        "truth": rm.pair_accuracy(truth, torch.zeros_like(truth)),
    }


def annotator_ceiling() -> float:
    """Give the accuracy of whoever knows the rating, on the held-out labels; ties count half."""
    pairs = labellers.answer_pairs(HELD_OUT_LABELS, N_HELD_OUT)
    texts = labellers.labels_of("honest", HELD_OUT_LABELS, N_HELD_OUT)
    leads = [
        annotator_quality(fact, text.chosen) - annotator_quality(fact, text.rejected)
        for (fact, _, _), text in zip(pairs, texts, strict=True)
    ]
    return fmean((lead > 0) + (lead == 0) / 2 for lead in leads)


def run_judge(n_labels: int, seed: int) -> dict:
    """Train one reward model and measure it."""
    return measure_judge(judge_of("honest", n_labels, seed))


class LengthAwareJudge(rm.RewardModel):
    """A reward model that may explain a choice by length, at so much per token, beside its score.

    The length of what is compared enters as a second cause, as in length-controlled AlpacaEval
    (Dubois et al. 2024, arXiv 2404.04475). `without_length` then leaves it out.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__(trunk)
        self.per_token = nn.Parameter(torch.zeros(()))
        self.counts_length = True

    def forward(self, ids: Tensor, last: Tensor) -> Tensor:
        """Score texts; equal prompts make `last` differ by the answers' lengths alone."""
        scores = super().forward(ids, last)
        return scores + self.per_token * last if self.counts_length else scores

    def without_length(self) -> "LengthAwareJudge":
        """Give the judge itself, which from now on is blind to what a token is worth as such."""
        self.counts_length = False
        return self


# Rewards made of reward models
# --------------------------------------------------------------------------------------------------


def reward_by(judge: rm.RewardModel) -> ChatReward:
    """Make the reward that a reward model gives."""

    def reward(questions: Sequence[Question], answers: Sequence[str]) -> list[float]:
        return score_chats(judge, base_tokenizer(), list(zip(questions, answers, strict=True)))

    return reward


@cache
def calibration_answers(seed: int = 0) -> tuple[list[Question], list[str]]:
    """Draw 500 answers of the base, on which scores of different reward models are compared."""
    questions = [draw_fact_question(Random(f"{seed}/calibrate/{i}")) for i in range(500)]
    asked = [question.text for question in questions]
    generator = torch.Generator().manual_seed(seed)
    answers, _ = answer_questions(
        base_model(), base_tokenizer(), asked, MAX_NEW_TOKENS, generator=generator
    )
    return questions, answers


def centred_reward(judge: rm.RewardModel) -> ChatReward:
    """Make a reward model's reward, shifted and scaled to mean 0 and deviation 1 on base answers.

    Only differences of scores mean something, and each reward model has a scale of its own.
    """
    scores, reward = torch.tensor(reward_by(judge)(*calibration_answers())), reward_by(judge)
    mean, deviation = scores.mean().item(), max(scores.std().item(), 1e-6)
    return lambda *chats: [(score - mean) / deviation for score in reward(*chats)]


def ensemble_reward(
    judges: Sequence[rm.RewardModel], how: Callable[[Sequence[float]], float]
) -> ChatReward:
    """Make one reward of several reward models: `how` is `min` or `fmean`.

    Source: Coste et al. 2023 (arXiv 2310.02743), worst-case and mean optimisation.
    """
    if not judges:
        raise ValueError("there are no reward models to make a reward of")
    rewards = [centred_reward(judge) for judge in judges]
    return lambda *chats: [how(votes) for votes in zip(*(r(*chats) for r in rewards), strict=True)]


def length_free_reward(judge: rm.RewardModel) -> ChatReward:
    """Make a reward model's reward less what length explains of it, in a line through base answers.

    What goes with length for good reasons goes too: a polite answer is longer.
    """
    questions, answers = calibration_answers()
    scores = torch.tensor(reward_by(judge)(questions, answers)).double()
    lengths = torch.tensor([float(len(answer)) for answer in answers]).double()
    centred = lengths - lengths.mean()
    slope = ((centred * scores).sum() / centred.square().sum()).item()
    reward = reward_by(judge)

    def residual(asked: Sequence[Question], said: Sequence[str]) -> list[float]:
        pairs = zip(reward(asked, said), said, strict=True)
        return [score - slope * len(answer) for score, answer in pairs]

    return residual


# Policies
# --------------------------------------------------------------------------------------------------


def chat_task(reward: ChatReward) -> RLTask:
    """Make the task of answering questions about facts for this reward."""
    return RLTask(draw_fact_question, reward, true_measures)


def true_measures(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Tell what nobody who learns from labels can see: the rating, and the traits of the answers.

    >>> fact = draw_fact_question(Random(0)).truth
    >>> true_measures([Question(fact.question, fact)], [fact.sentence])["true"]
    3.0
    """
    rated = [
        annotator_quality(question.truth, answer)
        for question, answer in zip(questions, answers, strict=True)
    ]
    characters = fmean(map(len, answers)) if answers else 0.0
    true = fmean(rated) if rated else 0.0
    return {"true": true, "characters": characters, **fact_answer_metrics(questions, answers)}


def evaluation_questions(n: int) -> list[Question]:
    """Draw the questions on which policies are measured."""
    rng = Random(EVALUATION_SEED)
    return [draw_fact_question(rng) for _ in range(n)]


@torch.no_grad()
def measure_policy(
    policy: nn.Module, reward: ChatReward | None = None, n_questions: int = 250
) -> dict:
    """Let a policy answer fixed questions, twice each: truth, proxy, and how far it has moved.

    "kl" is KL(policy || base) of whole answers, in nats: the mean of log(policy / base).
    """
    questions = evaluation_questions(n_questions)
    generator = torch.Generator().manual_seed(EVALUATION_SEED)
    answers, completions = answer_questions(
        policy, base_tokenizer(), [q.text for q in questions], MAX_NEW_TOKENS, 2, 1.0, generator
    )
    asked = [question for question in questions for _ in range(2)]
    gaps = completions.log_probs - completion_log_probs(base_model(), completions)
    proxy = {"proxy": fmean(reward(asked, answers))} if reward else {}
    return true_measures(asked, answers) | proxy | {"kl": gaps.sum(-1).mean().item()}


def feedback_settings(steps: int, beta: float) -> PPOSettings:
    """Give the settings of PPO here: 16 questions a step, each answered four times."""
    return PPOSettings(
        steps,
        n_questions=16,
        group_size=4,
        max_new_tokens=MAX_NEW_TOKENS,
        lr=5e-4,
        beta=beta,
        decay=0.3,
    )


def ppo_policy(reward: ChatReward, seed: int, steps: int = 40, beta: float = 0.1) -> nn.Module:
    """Train a copy of the base by PPO for this reward."""
    policy = fresh_policy()
    settings = feedback_settings(steps, beta)
    train_ppo(policy, base_tokenizer(), chat_task(reward), settings, seed=seed)
    return policy


def dpo_policy(
    texts: Sequence[PreferenceTexts], seed: int, beta: float = 0.1, lr: float = 2e-4
) -> nn.Module:
    """Train a copy of the base by DPO on labels."""
    policy = fresh_policy()
    settings = sft_settings(judge_steps(len(texts)), adam_lr=lr)
    train_dpo(policy, encoded(texts), settings, beta=beta, seed=seed)
    return policy


def sft_policy(texts: Sequence[PreferenceTexts], seed: int) -> nn.Module:
    """Train a copy of the base on the chosen answers alone."""
    policy = fresh_policy()
    examples = [SFTExample(pair.prompt, pair.chosen) for pair in encoded(texts)]
    settings = sft_settings(judge_steps(len(texts)), adam_lr=5e-4)
    train_sft(policy, examples, settings, batch_size=32, seed=seed)
    return policy


@dataclass(frozen=True)
class AnswerPool:
    """Many answers of the base to each of some questions, with their scores and true worth."""

    questions: list[Question]
    answers: list[list[str]]
    scores: Float[Tensor, "Q N"]
    worth: Float[Tensor, "Q N"]


@torch.no_grad()
def draw_pool(reward: ChatReward, seed: int, n_questions: int, n_answers: int) -> AnswerPool:
    """Let the base answer questions many times; equal answers are scored once, to equal scores."""
    questions = evaluation_questions(n_questions)
    generator = torch.Generator().manual_seed(seed)
    answers, scores = [], []
    for question in questions:
        said, _ = answer_questions(
            base_model(), base_tokenizer(), [question.text], MAX_NEW_TOKENS, n_answers,
            generator=generator,
        )  # fmt: skip
        distinct = sorted(set(said))
        score = dict(zip(distinct, reward([question] * len(distinct), distinct), strict=True))
        answers.append(said)
        scores.append([score[answer] for answer in said])
    worth = [
        [annotator_quality(question.truth, answer) for answer in row]
        for question, row in zip(questions, answers, strict=True)
    ]
    return AnswerPool(questions, answers, torch.tensor(scores), torch.tensor(worth))


# Runs
# --------------------------------------------------------------------------------------------------


def run_method(method: str, seed: int, labeller: str = "honest", n: int = N_LABELS) -> dict:
    """Teach the base by one method from the same labels, and measure the policy."""
    judge = judge_of(labeller, n, seed)
    reward, texts = reward_by(judge), labellers.labels_of(labeller, seed, n)
    policies: Mapping[str, Callable[[], nn.Module]] = {
        "base": base_model,
        "SFT on the chosen": lambda: sft_policy(texts, seed),
        "DPO": lambda: dpo_policy(texts, seed),
        "PPO": lambda: ppo_policy(reward, seed),
    }
    return measure_policy(policies[method](), reward)


POOL_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def run_best_of_n(n_labels: int, seed: int, n_questions: int = 60) -> dict:
    """Measure best-of-n by a reward model, and by the truth itself: no judge could do better."""
    reward = reward_by(judge_of("honest", n_labels, seed))
    pool = draw_pool(reward, seed, n_questions, POOL_SIZES[-1])
    curve = best_of_n.best_of_n_curve(pool.scores, pool.worth, POOL_SIZES)
    known = best_of_n.best_of_n_curve(pool.worth, pool.worth, POOL_SIZES)
    watched = [
        [row[int(pool.scores[i, :n].argmax())] for i, row in enumerate(pool.answers[:WATCHED])]
        for n in POOL_SIZES
    ]
    return {"sizes": POOL_SIZES, **curve, "oracle": known["true"], "answers": watched}


def run_over_optimisation(n_labels: int, seed: int, steps: int = 60, every: int = 4) -> dict:
    """Practise for a reward model with hardly any price for distance; measure along the way."""
    reward, policy = reward_by(judge_of("honest", n_labels, seed)), fresh_policy()
    rows = [{"step": 0, "answers": watched_answers(policy), **measure_policy(policy, reward, 100)}]
    counter = iter(range(1, steps + 1))

    def measure(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
        if (step := next(counter)) % every == 0:
            found = measure_policy(policy, reward, 100)
            rows.append({"step": step, "answers": watched_answers(policy), **found})
        return {}

    task = RLTask(draw_fact_question, reward, measure)
    settings = feedback_settings(steps, beta=1e-4)
    train_ppo(policy, base_tokenizer(), task, settings, seed=seed)
    return {name: [row[name] for row in rows] for name in rows[0]}


@torch.no_grad()
def watched_answers(policy: nn.Module) -> list[str]:
    """Let a policy answer the first of the evaluation's questions, by the same random numbers."""
    asked = [question.text for question in evaluation_questions(WATCHED)]
    generator = torch.Generator().manual_seed(1)
    return answer_questions(
        policy, base_tokenizer(), asked, MAX_NEW_TOKENS, generator=generator
    )[0]  # fmt: skip


CURES = ("none", "length residual", "length aware")


def run_labeller(labeller: str, cure: str, seed: int, n: int = N_LABELS) -> dict:
    """Practise for a reward model of a labeller's labels, with or without a cure for length."""
    judge = judge_of(labeller, n, seed)
    if cure == "length aware":
        texts = labellers.labels_of(labeller, seed, n)
        aware = train_judge(texts, seed, LengthAwareJudge)
        judge = aware.without_length()
    reward = length_free_reward(judge) if cure == "length residual" else reward_by(judge)
    found = measure_policy(ppo_policy(reward, seed), reward)
    return found | {"judge": measure_judge(judge)}


ENSEMBLES: Mapping[str, Callable[[Sequence[float]], float]] = {"mean": fmean, "minimum": min}


def resampled_labels(texts: Sequence[PreferenceTexts], seed: int) -> list[PreferenceTexts]:
    """Draw as many labels with replacement (the bootstrap): what makes reward models differ."""
    rng = Random(f"{seed}/resampled")
    return [texts[int(rng.random() * len(texts))] for _ in texts]


@cache
def resampled_judges(seed: int, n: int) -> list[rm.RewardModel]:
    """Train three reward models on the same honest labels, resampled."""
    texts = labellers.labels_of("honest", seed, n)
    return [train_judge(resampled_labels(texts, 10 * seed + k), seed) for k in range(3)]


def run_ensemble(how: str, seed: int, n: int = N_LABELS, steps: int = 40) -> dict:
    """Practise without a price for distance: for one reward model, or for three together."""
    judges = resampled_judges(seed, n)
    single = how == "one"
    reward = centred_reward(judges[0]) if single else ensemble_reward(judges, ENSEMBLES[how])
    return measure_policy(ppo_policy(reward, seed, steps, beta=1e-4), reward)


def planned_runs(seeds: Sequence[int]) -> Iterator[tuple[dict, Callable[[], dict]]]:
    """Give the key of every run, and what makes it."""
    for seed in seeds:
        for n in LABEL_COUNTS:
            key = {"table": "judges", "labels": n, "seed": seed}
            yield key, partial(run_judge, n, seed)
        for method in ("base", "SFT on the chosen", "DPO", "PPO"):
            key = {"table": "methods", "method": method, "seed": seed}
            yield key, partial(run_method, method, seed)
        for n in (N_LABELS,):
            key = {"table": "over-optimisation", "labels": n, "seed": seed}
            yield key, partial(run_over_optimisation, n, seed)
        yield (
            {"table": "best of n", "labels": N_LABELS, "seed": seed},
            partial(run_best_of_n, N_LABELS, seed),
        )
        for labeller, cure in [
            *product(("prefers length",), CURES),
            ("biased", "none"),
            ("lazy", "none"),
        ]:
            key = {"table": "labellers", "labeller": labeller, "cure": cure, "seed": seed}
            yield key, partial(run_labeller, labeller, cure, seed)
        for how in ("one", *ENSEMBLES):
            key = {"table": "ensembles", "reward": how, "seed": seed}
            yield key, partial(run_ensemble, how, seed)


def read_feedback(folder: Path = FEEDBACK_FOLDER) -> list[dict]:
    """Read the finished runs."""
    return read_json(folder / "runs.json", *FEEDBACK_RECORD)


def make_missing_runs(path: Path, seeds: Sequence[int], tables: Sequence[str]) -> None:
    """Make the runs that are not in the file, each kept as soon as it is done."""
    runs = read_json(path, *FEEDBACK_RECORD) if path.exists() else []
    for key, measure in planned_runs(seeds):
        if tables and key["table"] not in tables:
            continue
        if any(key.items() <= run.items() for run in runs):
            continue
        start = time.process_time()
        found = key | measure()
        runs.append(found | {"seconds": time.process_time() - start})
        write_json(path, *FEEDBACK_RECORD, runs)
        print(", ".join(map(str, key.values())), f"{runs[-1]['seconds']:.0f} s", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = argparse.ArgumentParser(
        "python -m course_lib.experiments.human_feedback", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for runs.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tables", nargs="*", default=[], help="only these")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    make_missing_runs(asked.out / "runs.json", asked.seeds, asked.tables)


if __name__ == "__main__":
    main()
