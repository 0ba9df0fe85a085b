"""What R1's stages buy beside a shorter way there, and what manners cost: runs for lesson 26.

    python -m course_lib.r1 --out runs/r1 --seed 0        # first, the pipeline, for every seed
    python -m course_lib.experiments.r1_steps --runs runs/r1 --out data/r1_steps

The shorter way has three steps: RL on the base (R1-Zero), rejection sampling from it beside chats,
fine-tuning of the base and RL for both. Cold start and reasoning RL are left out. What is trained
stays beside the pipeline's stages, under `experiments/`; finished runs are kept in `runs.json`, and
a command that was stopped goes on where it was.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from course_lib.alignment.rewards import count_worked_sums, is_mixed, languages_of, true_fraction
from course_lib.alignment.rl_task import EVALUATION_SEED, Question, RLTask, answer_in_batches
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.ablations import ABLATIONS_FOLDER, is_right_and_well_formed
from course_lib.experiments.chats import (
    is_arithmetic_question,
    reasoning_and_chat_task,
    reward_model_stage,
    sample_chats,
    score_chats,
)
from course_lib.experiments.r1 import (
    LAPTOP_RECIPE,
    best_chats_stage,
    collect_good_answers,
    is_readable_answer,
)
from course_lib.experiments.run import ExperimentRun
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser, timed_measure
from course_lib.experiments.stages import finetune_stage, rl_stage
from course_lib.tasks.arithmetic import (
    REASONING_REWARDS,
    ZERO_REWARDS,
    AnswerFilter,
    arithmetic_task,
    draw_arithmetic_question,
    evaluate_arithmetic,
)
from course_lib.tasks.fact_chats import (
    ANNOTATOR_CERTAINTY,
    ANNOTATOR_TASTE,
    answer_traits,
    draw_fact_question,
    fact_answer_metrics,
)
from course_lib.text.problems import is_well_formed, verify_answer
from course_lib.text.small_web.facts import ENGLISH_FACTS, FACT_TOPICS, facts_about

R1_STEPS_FOLDER = DATA_FOLDER / "r1_steps"
# AIME 2024, IF-Eval, AlpacaEval 2: DeepSeek-R1 in Nature (2025), table 2; arXiv 2501.12948v2
PAPER_STAGES = {
    "R1-Zero": (77.9, 46.6, 24.7),
    "Dev1": (59.0, 71.7, 50.1),
    "Dev2": (74.0, 72.0, 55.8),
    "Dev3": (78.1, 78.1, 62.1),
    "R1": (79.8, 83.3, 87.6),
}
# of an answer, apart from its form: a wrong fact in a full sentence is no "full sentence"
JUDGED_TRAITS = ("right", "polite", "slang", "not English", "rambling")
# what the annotator gives for a right fact, in the unit of a reward model's score: log-odds
FACT_WORTH = ANNOTATOR_CERTAINTY * ANNOTATOR_TASTE["right"]


# ------------------------------------------------------------------------------ what is thrown away


def rejection_reason(question: Question, text: str) -> str:
    """Say why an answer to a sum is no example to learn from: the first fault, or "kept".

    >>> from course_lib.text.problems import ChainProblem
    >>> asked = Question("7+5-3=?", ChainProblem((7, 5, 3), (1, -1)))
    >>> [rejection_reason(asked, text) for text in ("I think 8", "so 9",
    ...     "<think>先12-3=9, then</think><answer>9</answer>",
    ...     "<think>first 12-3=9</think><answer>9</answer>")]
    ['wrong', 'not well-formed', 'two languages', 'kept']
    """
    if not verify_answer(question.truth, text):
        return "wrong"
    if not is_well_formed(text):
        return "not well-formed"
    if is_mixed(text):
        return "two languages"
    return "kept" if languages_of(text) == {"english"} else "not English"


def sift_answers(
    questions: Sequence[Question], answers: Sequence[str], each: int
) -> dict[str, int]:
    """Count answers by their `rejection_reason`, `each` to a question, and questions kept.

    A further good answer to the same question is "one too many".
    """
    found: Counter[str] = Counter()
    done: set[int] = set()
    for i, text in enumerate(answers):
        reason = rejection_reason(questions[i // each], text)
        found["one too many" if reason == "kept" and i // each in done else reason] += 1
        done |= {i // each} if reason == "kept" else set()
    return dict(found) | {"questions": len(questions)}


def sift_teacher(run: ExperimentRun, teacher: str, n_questions: int = 1000, each: int = 4) -> dict:
    """Let a stage answer fresh sums, and count what a rejection sampling would keep and drop."""
    rng = Random(f"{run.seed}/sifted")
    questions = [draw_arithmetic_question(rng) for _ in range(n_questions)]
    model, tokenizer = run.load(teacher), run.tokenizer()
    texts, _ = answer_in_batches(model, tokenizer, questions, n_samples=each, seed=run.seed)
    return {
        "counts": sift_answers(questions, texts, each),
        "worked": true_fraction([count_worked_sums(text) > 0 for text in texts]),
    }


# --------------------------------------------------------------------------------- the shorter way


STEP_FILTERS: dict[str, AnswerFilter] = {
    "three steps": is_readable_answer,
    "any language": is_right_and_well_formed,
}


def three_steps_sft(run: ExperimentRun, name: str) -> str:
    """Fine-tune the base on R1-Zero's good answers and on the pipeline's chats; name the stage."""
    folder, n = f"{ABLATIONS_FOLDER}/{name}", run.recipe.sft_questions
    sums = run.once(
        f"{folder}/answers", lambda: collect_good_answers(run, "zero", n, 4, STEP_FILTERS[name])
    )
    pairs = sums + best_chats_stage(run)
    finetune_stage(run, f"{folder}/sft", "base", pairs, run.recipe.sft_steps)
    return f"{folder}/sft"


def three_steps_r1(run: ExperimentRun, name: str) -> str:
    """Add the last RL to the shorter way; name the stage."""
    return last_rl(run, name, three_steps_sft(run, name))


def last_rl(run: ExperimentRun, name: str, start: str, task: RLTask | None = None) -> str:
    """Practise sums and chats as R1's last stage does, with its reward model; name the stage."""
    judge = reward_model_stage(run, "r1/judge", "sft")
    task = task or reasoning_and_chat_task(judge, run.tokenizer())
    rl_stage(run, f"{ABLATIONS_FOLDER}/{name}/r1", start, task, run.recipe.r1)
    return f"{ABLATIONS_FOLDER}/{name}/r1"


def language_stage(run: ExperimentRun, name: str, weights: Mapping[str, float]) -> str:
    """Let R1-Zero practise on for as long as the reasoning stage does; name the stage."""
    stage = f"{ABLATIONS_FOLDER}/{name}-language-reward"
    rl_stage(run, stage, "zero", arithmetic_task(weights), run.recipe.reasoning)
    return stage


def sft_of_reasoning_model(run: ExperimentRun) -> str:
    """Fine-tune the reasoning stage's model, not the base, on the same data; name the stage."""
    stage = f"{ABLATIONS_FOLDER}/sft-of-reasoning"
    finetune_stage(run, stage, "reasoning", sft_pairs(run), run.recipe.sft_steps)
    return stage


def sft_pairs(run: ExperimentRun) -> list[Sequence[str]]:
    """Give what R1's second fine-tuning learns from: sums, then chats."""
    n = run.recipe.sft_questions
    sums = run.once(
        "sft/sums", lambda: collect_good_answers(run, "reasoning", n, 4, is_readable_answer)
    )
    return sums + best_chats_stage(run)


# ---------------------------------------------------------------------------- manners and the truth


def is_practised_fact(question: Question) -> bool:
    """Tell whether the cure practises this question about a fact: about half of them, by a hash."""
    return zlib.crc32(question.text.encode()) % 2 == 0


def half_of_facts(task: RLTask) -> RLTask:
    """Make a task that asks for practised facts alone; other questions stay."""

    def draw(rng: Random) -> Question:
        while True:
            question = task.draw(rng)
            if is_arithmetic_question(question) or is_practised_fact(question):
                return question

    return replace(task, draw=draw)


def rewarded_facts(task: RLTask, worth: float = FACT_WORTH) -> RLTask:
    """Make a task that pays `worth` more for a chat whose fact is right, by rule."""

    def reward(questions: Sequence[Question], answers: Sequence[str]) -> list[float]:
        rated = task.reward(questions, answers)
        return [
            each + (0.0 if is_arithmetic_question(question) else worth * tells_fact(question, text))
            for each, question, text in zip(rated, questions, answers, strict=True)
        ]

    return replace(task, reward=reward)


def tells_fact(question: Question, text: str) -> bool:
    """Tell whether an answer to a question about a fact holds the true one."""
    return answer_traits(question.truth, text)["right"]


def cured_stage(run: ExperimentRun, name: str, start: str, rule: bool) -> str:
    """Practise R1's last stage on half of the facts, with or without the rule; name the stage."""
    judge = reward_model_stage(run, "r1/judge", "sft")
    task = half_of_facts(reasoning_and_chat_task(judge, run.tokenizer()))
    return last_rl(run, name, start, rewarded_facts(task) if rule else task)


def true_chats_sft(run: ExperimentRun) -> str:
    """Fine-tune the base as R1 is, but on chats of which a rule has dropped wrong ones."""
    stage = f"{ABLATIONS_FOLDER}/true-chats/sft"
    facts = known_facts()
    true = [
        pair
        for pair in sft_pairs(run)
        if pair[0] not in facts or tells_fact(facts[pair[0]], pair[1])
    ]
    finetune_stage(run, stage, "base", true, run.recipe.sft_steps)
    return stage


def known_facts() -> dict[str, Question]:
    """Give every question about a fact that a chat may ask, by its text."""
    facts = [
        fact
        for topic in ENGLISH_FACTS
        for name in FACT_TOPICS[topic]
        for fact in facts_about(topic, name)
    ]
    return {fact.question: Question(fact.question, fact) for fact in facts}


def measure_manners(run: ExperimentRun, stage: str, n: int = 1000) -> dict[str, dict]:
    """Measure a stage's answers about facts: of all, of practised and of other ones."""
    rng = Random(EVALUATION_SEED)
    questions = [draw_fact_question(rng) for _ in range(n)]
    pairs = list(zip(questions, sample_chats(run, stage, questions, 1), strict=True))
    parts = {
        "all": pairs,
        "practised": [pair for pair in pairs if is_practised_fact(pair[0])],
        "other": [pair for pair in pairs if not is_practised_fact(pair[0])],
    }
    return {name: fact_answer_metrics(*zip(*some, strict=True)) for name, some in parts.items()}


def judged_traits(
    run: ExperimentRun, stage: str = "sft", n: int = 300, each: int = 8
) -> dict[str, dict]:
    """Tell how often the last judge prefers the better of two answers that differ in one trait.

    Both answer one question and come from the stage. "right": only one is right; "polite": only
    one is. All other traits of `ANNOTATOR_TASTE` are equal.
    """
    judge = reward_model_stage(run, "r1/judge", "sft")
    rng = Random(EVALUATION_SEED + 1)
    questions = [draw_fact_question(rng) for _ in range(n)]
    texts = sample_chats(run, stage, questions, each)
    asked = [question for question in questions for _ in range(each)]
    scores = score_chats(judge, run.tokenizer(), list(zip(asked, texts, strict=True)))
    rated = [
        (judged_part(question, text), score)
        for question, text, score in zip(asked, texts, scores, strict=True)
    ]
    groups = [rated[i : i + each] for i in range(0, len(rated), each)]
    return {trait: preferred_share(groups, trait) for trait in ("right", "polite")}


def judged_part(question: Question, text: str) -> dict[str, bool]:
    """Give those traits of an answer about a fact that say nothing of its form."""
    traits = answer_traits(question.truth, text)
    return {name: traits[name] for name in JUDGED_TRAITS}


def preferred_share(
    groups: Sequence[Sequence[tuple[dict[str, bool], float]]], trait: str
) -> dict[str, float | int]:
    """Compare scores of answers that differ in this trait alone: the share won by who has it.

    >>> group = [({"right": True}, 2.0), ({"right": False}, 1.0), ({"right": False}, 3.0)]
    >>> preferred_share([group], "right")
    {'share': 0.5, 'pairs': 2}
    """
    won = [
        one_score > other_score
        for group in groups
        for one, one_score in group
        for other, other_score in group
        if one[trait] and one == other | {trait: True} and not other[trait]
    ]
    return {"share": round(true_fraction(won), 4), "pairs": len(won)}


# ----------------------------------------------------------------------------------------- all runs


def measure_steps(run: ExperimentRun, stage: Callable[[], str], n: int = 1000) -> dict:
    """Make a stage and measure it on sums and on questions about facts."""
    name = stage()
    return {
        "sums": evaluate_arithmetic(run.load(name), run.tokenizer(), n),
        "chats": measure_manners(run, name),
    }


def steps_of_seed(run: ExperimentRun) -> Iterator[tuple[str, str, Callable[[], dict]]]:
    """Name a seed's runs, by table and name, each with what makes it."""
    for stage in ("base", "reasoning", "sft", "r1"):
        yield "manners", stage, lambda stage=stage: {"chats": measure_manners(run, stage)}
    for teacher in ("zero", "reasoning"):
        yield "sifted", teacher, partial(sift_teacher, run, teacher)
    yield "judge", "one trait apart", partial(judged_traits, run)
    stages: dict[tuple[str, str], Callable[[], str]] = {
        ("steps", "four stages, SFT"): lambda: "sft",
        ("steps", "four stages, R1"): lambda: "r1",
        ("steps", "three steps, SFT"): partial(three_steps_sft, run, "three steps"),
        ("cures", "true chats, SFT"): partial(true_chats_sft, run),
        ("cures", "rule for facts"): partial(cured_stage, run, "rule for facts", "sft", True),
        ("steps", "three steps, R1"): partial(three_steps_r1, run, "three steps"),
        ("restart", "SFT of the reasoning model"): partial(sft_of_reasoning_model, run),
        ("steps", "any language, SFT"): partial(three_steps_sft, run, "any language"),
        ("language", "with"): partial(language_stage, run, "with", REASONING_REWARDS),
        ("language", "without"): partial(language_stage, run, "without", ZERO_REWARDS),
        ("cures", "true chats, R1"): lambda: last_rl(run, "true-chats", true_chats_sft(run)),
        ("cures", "half of the facts"): partial(
            cured_stage, run, "half of the facts", "sft", False
        ),
        ("cures", "both, R1"): lambda: cured_stage(run, "both", true_chats_sft(run), True),
    }
    for (table, name), stage in stages.items():
        yield table, name, partial(measure_steps, run, stage)


def r1_steps(table: str, folder: Path = R1_STEPS_FOLDER) -> dict[str, list[dict]]:
    """Read the finished runs of a table by name, each seed by seed."""
    return RunRecords(folder / "runs.json").by_name(table=table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = runs_parser("r1_steps", __doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the pipeline's runs")
    parser.add_argument("--tables", nargs="+", help="only these, as in --tables manners judge")
    asked = parser.parse_args(arguments)
    records = open_records(asked.out)
    for seed in asked.seeds:
        run = ExperimentRun(asked.runs / f"seed-{seed}", seed, LAPTOP_RECIPE)
        for table, name, make in steps_of_seed(run):
            if asked.tables and table not in asked.tables:
                continue
            records.get(partial(timed_measure, make), table=table, name=name, seed=seed)


if __name__ == "__main__":
    main()
