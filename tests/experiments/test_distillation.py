"""Students and votes: what each run does, and records that hold what the lesson reads."""

import pytest
import torch

from course_lib.alignment.rl_task import Question
from course_lib.experiments import distillation, thinking_longer
from course_lib.experiments.distillation import students_over_seeds
from course_lib.experiments.r1 import SHIPPED_R1, is_readable_answer
from course_lib.experiments.run_records import RunRecords
from course_lib.experiments.search import SHIPPED_SEARCH
from course_lib.experiments.thinking_longer import AnswerGroups
from course_lib.tasks.arithmetic import held_out_arithmetic
from course_lib.tasks.at_k import majority_at_k
from course_lib.text.problems import ChainProblem, is_held_out


def test_a_teachers_answers_are_right_readable_and_not_held_out():
    pairs = distillation.teacher_answers(SHIPPED_R1.load("r1"), SHIPPED_R1.tokenizer(), 12, seed=1)
    assert len(pairs) >= 10
    for question, text in pairs:
        numbers = tuple(map(int, question[0:-2:2]))
        signs = tuple(1 if c == "+" else -1 for c in question[1:-2:2])
        chain = ChainProblem(numbers, signs)
        assert not is_held_out(chain)
        assert is_readable_answer(Question(question, chain), text)


def test_every_seed_makes_the_same_runs_and_the_record_holds_them():
    work = object.__new__(distillation.StudentRuns)  # nothing is made before it is called
    names = [(table, name) for table, name, _ in distillation.student_runs(work)]
    assert len(set(names)) == len(names)
    record = distillation.read_students()
    for table, name in names:
        at_least = 3 if table in ("answers", "probabilities") and name[-1].isdigit() else 1
        found = students_over_seeds(record, table, name)
        assert len(found) >= at_least, f"{name} of {table} lacks seeds"


def test_a_run_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="no run 'x' in table 'answers'"):
        students_over_seeds(RunRecords(tmp_path / "none.json"), "answers", "x")
    with pytest.raises(ValueError, match="no run 'x' in table 'sums'"):
        thinking_longer.forced_over_seeds(RunRecords(tmp_path / "none.json"), "sums", "x")


def groups() -> AnswerGroups:
    chain = ChainProblem((7, 5, 3), (1, -1))  # 9
    question = Question(chain.question, chain)
    texts = [["8", "9", "8", "9 lol"], ["no", "9", "9", "9"]]
    return AnswerGroups([question] * 2, texts, [[2] * 4] * 2)


def test_curves_of_votes_are_those_of_a_few_answers_by_hand():
    scores = torch.tensor([[0.9, 0.1, 0.8, 0.2], [0.9, 0.1, 0.2, 0.3]])
    assert groups().right == [[False, True, False, True], [False, True, True, True]]
    curves = thinking_longer.vote_curves(groups(), {"verifier": scores}, sizes=(1, 4))
    assert curves["pass"] == [0.625, 1.0]
    assert curves["verifier"] == [0.625, 0.0]
    assert curves["weighted"][1] == 0.5  # 8 weighs 1.7 and 9 only 0.3; the second has only nines
    both = [majority_at_k(row, "9", 4) for row in groups().answers]
    assert curves["majority"][1] == pytest.approx(sum(both) / 2)


def test_a_forced_thought_begins_at_once_and_counts_all_its_tokens():
    tokenizer, questions = SHIPPED_R1.tokenizer(), held_out_arithmetic(3)
    texts, tokens = thinking_longer.forced_answers(
        SHIPPED_R1.load("zero"), tokenizer, questions, 1, ", wait, ", 120
    )
    for text, n in zip(texts, tokens, strict=True):
        assert text.startswith("<think>") and text.count(", wait, ") == 1
        assert n - 1 in (len(tokenizer.encode(text, allowed_special="all")) + d for d in (-1, 0))


def test_the_models_own_verdict_is_read():
    tokenizer = SHIPPED_SEARCH.tokenizer()
    says = thinking_longer.says_yes(tokenizer)
    assert says(tokenizer.encode("20-9=11 yes")) and not says(tokenizer.encode("20-9=11 not 14"))


def test_the_records_hold_every_forced_run_and_vote():
    record = thinking_longer.read_forced()
    for table, name, times in thinking_longer.forced_runs(0):
        assert len(thinking_longer.forced_over_seeds(record, table, name)[times]) == 3
    votes = thinking_longer.read_votes().runs
    assert {run["name"] for run in votes} == {*thinking_longer.VOTERS}
    for run in votes:
        for curve in run["curves"].values():
            assert all(x <= top + 1e-9 for x, top in zip(curve, run["curves"]["pass"], strict=True))
