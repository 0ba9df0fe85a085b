"""What more tokens buy when the weights stay as they are: the records that lesson 27 reads.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.thinking_longer --out data/distillation

Votes are over answers to sums, by V3-Base and R1-Zero; thoughts are forced on sums and on puzzles.
All models come with the course. A seed is other questions and other draws, and a verifier that has
learnt from other answers. Finished runs are kept in `votes.json` and `forced.json`: a command that
was stopped goes on where it was.
"""

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import mean

import torch
from torch import nn

from course_lib.alignment.outcome_verifier import (
    JudgedText,
    outcome_probabilities,
    train_outcome_verifier,
)
from course_lib.alignment.preferences import encode_completion
from course_lib.alignment.reward_model import RewardModel
from course_lib.alignment.rl_task import Question, answer_in_batches, question_prompt_ids
from course_lib.experiments.chats import reward_model_stage
from course_lib.experiments.distillation import DISTILLATION_FOLDER
from course_lib.experiments.r1 import LAPTOP_RECIPE, SHIPPED_R1
from course_lib.experiments.run import ExperimentRun
from course_lib.experiments.run_records import RunRecords, timed_measure
from course_lib.experiments.search import SHIPPED_SEARCH
from course_lib.files import write_atomically
from course_lib.inference.budget_forcing import sample_forced
from course_lib.tasks.arithmetic import draw_arithmetic_question, held_out_arithmetic
from course_lib.tasks.at_k import best_at_k, majority_at_k, pass_at_k, weighted_majority_at_k
from course_lib.tasks.countdown import find_tries, held_out_searches
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_OF_TEXT, END_THINK, THINK
from course_lib.text.problems import final_answer, verify_answer

VOTE_SIZES = (1, 2, 4, 8, 16, 32, 64)
VOTE_SEED = 27
JUDGED_ANSWERS = 3000  # that the verifier learns from; the weak one has the first of them
WEAK_ANSWERS = 40
VERIFIER_STEPS = 150
FORCED_TIMES = (0, 1, 2, 4, 8)
SHOWN_VOTER = "V3-Base"
VOTERS = {SHOWN_VOTER: ("base", (3, 4, 5, 6)), "R1-Zero, eight numbers": ("zero", (8,))}


# --------------------------------------------------------------------------------- votes over sums


@dataclass(frozen=True)
class AnswerGroups:
    """Many answers to each question: a row per question, a column per answer."""

    questions: list[Question]
    texts: list[list[str]]
    tokens: list[list[int]]  # the length of each answer, its end included

    @property
    def right(self) -> list[list[bool]]:
        return [
            [bool(verify_answer(question.truth, text)) for text in row]
            for question, row in zip(self.questions, self.texts, strict=True)
        ]

    @property
    def answers(self) -> list[list[str | None]]:
        return [[final_answer(text) for text in row] for row in self.texts]


def sample_groups(
    model: nn.Module,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    n: int,
    seed: int = VOTE_SEED,
    max_new_tokens: int = 90,
) -> AnswerGroups:
    """Answer each question `n` times, at temperature 1."""
    options = {"n_samples": n, "max_new_tokens": max_new_tokens, "seed": seed}
    texts, tokens = answer_in_batches(model, tokenizer, questions, **options)
    starts = range(0, len(texts), n)
    return AnswerGroups(
        list(questions), [texts[i : i + n] for i in starts], [tokens[i : i + n] for i in starts]
    )


def group_ids(tokenizer: Tokenizer, groups: AnswerGroups) -> list[list[int]]:
    """Give the tokens of each question with each of its answers, row after row."""
    return [
        question_prompt_ids(tokenizer, question.text) + encode_completion(tokenizer, text)
        for question, row in zip(groups.questions, groups.texts, strict=True)
        for text in row
    ]


def judged_texts(model: nn.Module, tokenizer: Tokenizer, n: int, seed: int = 0) -> list[JudgedText]:
    """Let a model answer `n` fresh sums, once each, and say by rule which answers are right."""
    rng = Random(f"{seed}/judged")
    questions = [draw_arithmetic_question(rng) for _ in range(n)]
    groups = sample_groups(model, tokenizer, questions, 1, seed)
    right = [row[0] for row in groups.right]
    return [
        JudgedText(ids, verdict)
        for ids, verdict in zip(group_ids(tokenizer, groups), right, strict=True)
    ]


def vote_curves(
    groups: AnswerGroups,
    scores: dict[str, torch.Tensor],
    sizes: Sequence[int] = VOTE_SIZES,
    weights: str = "verifier",
) -> dict[str, list[float]]:
    """Give the share of questions that come out right, for each number of answers, by each way.

    `scores` holds a table of scores, like the answers, for each judge: the best of n by each; the
    scores of the judge `weights` are the weights of the weighted vote.
    """
    counts = [sum(row) for row in groups.right]
    truths = [question.truth.answer for question in groups.questions]
    votes = list(zip(groups.answers, truths, strict=True))
    n = len(groups.texts[0])
    curves = {
        "pass": [mean(pass_at_k(n, count, k) for count in counts) for k in sizes],
        "majority": [mean(majority_at_k(row, truth, k) for row, truth in votes) for k in sizes],
    }
    for name, table in scores.items():
        judged = list(zip(table.tolist(), groups.right, strict=True))
        curves[name] = [mean(best_at_k(row, right, k) for row, right in judged) for k in sizes]
    if weights in scores:
        weighed = list(zip(votes, scores[weights].tolist(), strict=True))
        curves["weighted"] = [
            mean(weighted_majority_at_k(row, w, truth, k) for (row, truth), w in weighed)
            for k in sizes
        ]
    return {name: [round(float(x), 4) for x in curve] for name, curve in curves.items()}


def rank_accuracy(scores: torch.Tensor, right: torch.Tensor) -> float:
    """Give the probability that a right answer has a higher score than a wrong one; a tie is half.

    The area under the ROC curve.

    >>> rank_accuracy(torch.tensor([0.9, 0.2, 0.5]), torch.tensor([True, False, True]))
    1.0
    """
    good, bad = scores[right], scores[~right]
    if not len(good) or not len(bad):
        raise ValueError(f"{len(good)} right and {len(bad)} wrong answers: both kinds are needed")
    return ((good[:, None] - bad[None]).sign() + 1).mean().item() / 2


class VoteRuns:
    """Votes over many answers, and the judges that weigh them, for one seed."""

    def __init__(self, seed: int) -> None:
        self.seed, self.tokenizer = seed, SHIPPED_R1.tokenizer()
        self.judges: dict[str, RewardModel] = {}
        self.groups: tuple[AnswerGroups, dict[str, torch.Tensor]] | None = None

    def learn_judges(self, manners: Path) -> None:
        """Train a verifier on right and wrong answers, another one on few, and a judge of manners.

        What lesson 23 calls a reward model; it is kept in the folder `manners`, as all seeds share
        it.
        """
        if self.judges:
            return
        base, seed = SHIPPED_R1.load("base"), self.seed
        texts = judged_texts(base, self.tokenizer, JUDGED_ANSWERS, seed)
        for name, n in (("verifier", JUDGED_ANSWERS), ("weak verifier", WEAK_ANSWERS)):
            self.judges[name] = train_outcome_verifier(base, texts[:n], VERIFIER_STEPS, seed=seed)
        self.judges["manners"] = manners_judge(manners)

    def scores(self, groups: AnswerGroups) -> dict[str, torch.Tensor]:
        """Let each judge score all answers."""
        ids, n = group_ids(self.tokenizer, groups), len(groups.texts[0])
        return {
            name: outcome_probabilities(judge, ids).view(-1, n)
            for name, judge in self.judges.items()
        }

    def votes(self, stage: str, lengths: tuple[int, ...], n_questions: int = 60) -> dict:
        """Measure every way to choose among a model's answers to sums of these lengths."""
        questions = held_out_arithmetic(n_questions, VOTE_SEED + self.seed, lengths)
        model, n = SHIPPED_R1.load(stage), max(VOTE_SIZES)
        groups = sample_groups(model, self.tokenizer, questions, n, VOTE_SEED + self.seed)
        scores, right = self.scores(groups), torch.tensor(groups.right)
        self.groups = groups, scores
        return {
            "accuracy": right.double().mean().item(),
            "tokens": mean(mean(row) for row in groups.tokens),
            "sizes": list(VOTE_SIZES),
            "curves": vote_curves(groups, scores),
            "rank accuracy": {
                name: round(rank_accuracy(table.flatten(), right.flatten()), 4)
                for name, table in scores.items()
            },
        }


def manners_judge(folder: Path) -> RewardModel:
    """Give a reward model that learnt which answers about facts are well-mannered, as R1's did."""
    if not (folder / "base/model.json").exists():  # what it is trained from
        shutil.copytree(SHIPPED_R1.folder / "base", folder / "base", dirs_exist_ok=True)
    return reward_model_stage(ExperimentRun(folder, 0, LAPTOP_RECIPE), "sft/judge")


def votes_to_show(groups: AnswerGroups, scores: dict[str, torch.Tensor], n: int = 12) -> list[dict]:
    """Give the first questions' answers with lengths, scores and texts, for JSON."""
    return [
        {
            "question": groups.questions[i].text,
            "truth": groups.questions[i].truth.answer,
            "answers": groups.answers[i],
            "tokens": groups.tokens[i],
            "texts": groups.texts[i],
            "scores": [round(x, 3) for x in scores["verifier"][i].tolist()],
        }
        for i in range(n)
    ]


# --------------------------------------------------------------------------------- forced thoughts


def never(written: Sequence[int]) -> bool:
    """No thought ends well."""
    return False


def forced_answers(
    model: nn.Module,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    times: int,
    instead: str,
    max_new_tokens: int,
    ends_well: Callable[[Sequence[int]], bool] = never,
    seed: int = VOTE_SEED,
) -> tuple[list[str], list[int]]:
    """Answer questions in thoughts that begin at once and may not end the first `times` times.

    The texts, and their lengths in tokens, what was put in included.
    """
    think, end, stop = (tokenizer.special_tokens[t] for t in (THINK, END_THINK, END_OF_TEXT))
    written = sample_forced(
        model,
        [[*question_prompt_ids(tokenizer, question.text), think] for question in questions],
        max_new_tokens,
        end,
        tokenizer.encode(instead),
        times,
        stop_token=stop,
        ends_well=ends_well,
        generator=torch.Generator().manual_seed(seed),
    )
    texts = [THINK + tokenizer.decode(ids[:-1] if ids[-1] == stop else ids) for ids in written]
    return texts, [len(ids) + 1 for ids in written]


def says_yes(tokenizer: Tokenizer) -> Callable[[Sequence[int]], bool]:
    """Give the test whether a thought on a puzzle ends on a yes: the model's own verdict."""
    return lambda written: tokenizer.decode([*written[-4:]]).rstrip().endswith("yes")


def measure_forced(questions: Sequence[Question], texts: list[str], tokens: list[int]) -> dict:
    """Give accuracy, tokens of an answer, and tries where there are any."""
    right = [bool(verify_answer(q.truth, text)) for q, text in zip(questions, texts, strict=True)]
    tries = [len(find_tries(text)) for text in texts]
    return {"accuracy": mean(right), "tokens": mean(tokens), "tries": mean(tries)}


def forced_runs(seed: int, n: int = 150) -> dict[tuple[str, str, int], Callable[[], dict]]:
    """Give every run of forced thoughts, by table, name and times: a function that measures it."""
    chains = held_out_arithmetic(n, VOTE_SEED + seed)
    searches = held_out_searches(n, seed=VOTE_SEED + seed)
    words, verdict = SHIPPED_R1.tokenizer(), says_yes(SHIPPED_SEARCH.tokenizer())
    found: dict[tuple[str, str, int], Callable[[], dict]] = {}

    def measure(models, stage, questions, times, instead, ends_well=never) -> dict:
        model, longest = models.load(stage), 200 if models is SHIPPED_R1 else 300
        tokenizer = words if models is SHIPPED_R1 else SHIPPED_SEARCH.tokenizer()
        options = {"ends_well": ends_well, "seed": VOTE_SEED + seed}
        found = forced_answers(model, tokenizer, questions, times, instead, longest, **options)
        return measure_forced(questions, *found)

    for times in FORCED_TIMES[:3]:
        found["sums", "wait", times] = partial(
            measure, SHIPPED_R1, "zero", chains, times, ", wait, "
        )
    for times in FORCED_TIMES:
        asked = SHIPPED_SEARCH, "base", searches, times
        if times in FORCED_TIMES[:3]:
            found["puzzles", "wait", times] = partial(measure, *asked, ", wait, ")
            found["puzzles", "any end", times] = partial(measure, *asked, ", ")
        found["puzzles", "no yes", times] = partial(measure, *asked, ", ", verdict)
    found["puzzles", "after practice", 0] = partial(
        measure, SHIPPED_SEARCH, "search", searches, 0, ", "
    )
    return found


def run_thinking_longer(out: Path, work: Path, seeds: Sequence[int] = (0, 1, 2)) -> None:
    """Make the runs that the records lack; the folder `work` keeps the judge of manners."""
    torch.set_num_threads(1)
    forced, votes = RunRecords(out / "forced.json"), RunRecords(out / "votes.json")
    for seed in seeds:
        for (table, name, times), measure in forced_runs(seed).items():
            key = {"table": table, "name": name, "times": str(times), "seed": seed}
            forced.get(partial(timed_measure, measure), **key)
    for seed in seeds:
        runs = VoteRuns(seed)
        for name, asked in VOTERS.items():
            if votes.find(name=name, seed=seed):
                continue
            runs.learn_judges(work)
            votes.get(partial(runs.votes, *asked), name=name, seed=seed)
            if (name, seed) == (SHOWN_VOTER, 0):
                lines = ",\n".join(
                    json.dumps(one, ensure_ascii=False) for one in votes_to_show(*runs.groups)
                )
                write_atomically(out / "answers.json", f"[\n{lines}\n]\n".encode())


def read_votes(path: Path | str = DISTILLATION_FOLDER / "votes.json") -> RunRecords:
    """Read the record of votes."""
    return RunRecords(Path(path))


def read_forced(path: Path | str = DISTILLATION_FOLDER / "forced.json") -> RunRecords:
    """Read the record of forced thoughts."""
    return RunRecords(Path(path))


def read_answers(path: Path | str = DISTILLATION_FOLDER / "answers.json") -> list[dict]:
    """Read what `votes_to_show` has stored."""
    return json.loads(Path(path).read_bytes())


def forced_over_seeds(
    record: RunRecords, table: str, name: str, measure: str = "accuracy"
) -> dict[int, list[float]]:
    """Give a measure of forced thoughts, seed by seed, for each number of times.

    Raises ValueError if there is no such run.
    """
    runs = [run for run in record.runs if (run["table"], run["name"]) == (table, name)]
    if not runs:
        raise ValueError(f"no run {name!r} in table {table!r} of {record.path}")
    found: dict[int, list[float]] = {}
    for run in sorted(runs, key=lambda run: (int(run["times"]), run["seed"])):
        found.setdefault(int(run["times"]), []).append(run[measure])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.experiments.thinking_longer",
        description="Let models vote, be judged, and think longer; write down what comes of it.",
    )
    parser.add_argument("--out", type=Path, default=DISTILLATION_FOLDER, help="where records go")
    parser.add_argument("--work", type=Path, default=Path("runs/thinking"), help="for a judge")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(arguments)
    run_thinking_longer(options.out, options.work, options.seeds)


if __name__ == "__main__":
    main()
