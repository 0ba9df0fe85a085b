"""Labels of simulated labellers, rewards made of reward models, and the record of lesson 23."""

from random import Random
from statistics import fmean

import pytest
import torch

from course_lib.alignment import reward_model as rm
from course_lib.alignment.preferences import PreferenceTexts
from course_lib.alignment.rl_task import Question
from course_lib.experiments import feedback_judges as judges
from course_lib.experiments import feedback_policies as policies
from course_lib.experiments import human_feedback, labellers
from course_lib.lab import labelling
from course_lib.tasks.fact_chats import annotator_quality
from course_lib.text.small_web.facts import facts_about

PERU = facts_about("capital", "Peru")[0]
QUESTION = Question(PERU.question, PERU)


def reward_of(table):
    return lambda questions, answers: [table[answer] for answer in answers]


def test_pairs_begin_alike_however_many_are_drawn_and_no_answers_are_equal():
    few, more = labellers.answer_pairs(7, 5), labellers.answer_pairs(7, 9)
    assert more[:5] == few and len(more) == 9
    assert all(one != other for _, one, other in more)
    apart = labellers.answer_pairs(7, 9, "learnt"), labellers.answer_pairs(7, 9, "held out")
    assert not set(apart[0]) & set(apart[1]) and len(apart[1]) == 9
    assert labellers.is_kept_apart(PERU, "a", "b") == labellers.is_kept_apart(PERU, "b ", "a")
    assert len(labelling.shipped_pairs()) == human_feedback.N_LABELS


def test_a_careless_labeller_tosses_a_coin_in_its_share_of_the_choices():
    lazy, rng = labellers.LABELLERS["lazy"], Random(0)
    good = sum(lazy.choose(rng, PERU, "Lima", "Lima, duh")[0] == "Lima" for _ in range(4000))
    expected = labellers.CARELESS_SHARE / 2 + (1 - labellers.CARELESS_SHARE) * 0.9933
    assert good / 4000 == pytest.approx(expected, abs=0.03)
    pair = [(PERU, "Lima", "Lima, duh")]
    assert labellers.label_agreement("lazy", pair) == pytest.approx(expected, abs=1e-3)


def test_labellers_like_what_their_names_say():
    polite = "The capital of Peru is Lima. Happy to help!"
    taste = {name: each.taste for name, each in labellers.LABELLERS.items()}
    assert taste["honest"](PERU, polite) == annotator_quality(PERU, polite) == 5
    assert taste["biased"](PERU, "Lima 啦") > taste["biased"](PERU, "Lima")
    assert taste["honest"](PERU, "Lima 啦") < taste["honest"](PERU, "Lima")
    longer = taste["prefers length"](PERU, "Lima!!!!") - annotator_quality(PERU, "Lima!!!!")
    assert longer == pytest.approx(8 * labellers.PER_CHARACTER)


def test_pairs_without_a_better_answer_tell_nothing():
    with pytest.raises(ValueError, match="none of 1 pairs"):
        labellers.label_agreement("honest", [(PERU, "Lima", "Lima")])


def test_equal_answers_and_no_labels_are_refused():
    with pytest.raises(ValueError, match="same answer twice"):
        judges.train_judge([PreferenceTexts("Who?", "me", "me")])
    with pytest.raises(ValueError, match="no pairs"):
        judges.train_judge([])


def test_no_pair_that_was_learnt_from_is_measured():
    texts = judges.held_out_labels()[:3]
    flipped = [text._replace(chosen=text.rejected, rejected=text.chosen) for text in texts]
    left = judges.held_out_labels(seen=flipped)
    assert len(left) <= judges.N_HELD_OUT - 3
    assert not {text.prompt + text.chosen + text.rejected for text in texts + flipped} & {
        text.prompt + text.chosen + text.rejected for text in left
    }


def test_labels_of_one_side_only_teach_what_they_say(monkeypatch):
    """Always the longer answer, without exception: the judge learns it and stays finite."""
    monkeypatch.setattr(judges, "judge_steps", lambda n: 12)
    texts = [PreferenceTexts(PERU.question, "Lima. Happy to help!", "Lima")] * 8
    judge = judges.train_judge(texts)
    leads = judges.judged_leads(judge, texts)
    assert leads.isfinite().all() and (leads > 0).all()


def test_an_empty_answer_is_scored_since_its_end_is_a_token():
    scores = judges.reward_by(rm.RewardModel(judges.base_model()))([QUESTION], [""])
    assert scores == [0.0]  # a new head likes nothing
    assert policies.true_measures([QUESTION], [""])["true"] == -1.0  # off form
    assert policies.true_measures([], [])["true"] == 0.0


def test_an_ensemble_takes_the_mean_or_the_worst_of_its_votes(monkeypatch):
    tables = [{"a": 1.0, "b": 5.0}, {"a": 3.0, "b": -1.0}]
    known = [rm.RewardModel(judges.base_model()) for _ in tables]
    of = dict(zip(map(id, known), map(reward_of, tables), strict=True))
    monkeypatch.setattr(judges, "centred_reward", lambda judge: of[id(judge)])
    mean, worst = judges.ensemble_reward(known, fmean), judges.ensemble_reward(known, min)
    assert mean([QUESTION] * 2, ["a", "b"]) == [2.0, 2.0]
    assert worst([QUESTION] * 2, ["a", "b"]) == [1.0, -1.0]
    with pytest.raises(ValueError, match="no reward models"):
        judges.ensemble_reward([], min)


def test_what_length_explains_is_taken_out_of_a_reward(monkeypatch):
    answers = ["a", "bb", "cccc", "dd", "eeeeee"]
    questions = [QUESTION] * len(answers)
    monkeypatch.setattr(judges, "calibration_answers", lambda: (questions, answers))
    monkeypatch.setattr(
        judges, "reward_by", lambda judge: lambda q, said: [3.0 * len(each) + 1 for each in said]
    )
    judge = rm.RewardModel(judges.base_model())
    left = judges.length_free_reward(judge)(questions, answers)
    assert left == pytest.approx([1.0] * len(answers))


def test_a_length_aware_judge_forgets_what_a_token_is_worth():
    judge = judges.LengthAwareJudge(judges.base_model())
    with torch.no_grad():
        judge.per_token.fill_(0.5)
    short, long = [5, 6, 7], [5, 6, 7, 8, 9]
    apart = judge.score([short, long])
    assert (apart[1] - apart[0]).item() == pytest.approx(1.0)
    blind = judge.without_length().score([short, long])
    assert blind.tolist() == [0.0, 0.0]


def test_a_pool_scores_equal_answers_equally():
    pool = policies.draw_pool(lambda q, a: [float(len(x)) for x in a], 0, 2, 8)
    assert pool.scores.shape == pool.worth.shape == (2, 8)
    for row, scores in zip(pool.answers, pool.scores, strict=True):
        assert scores.tolist() == [float(len(text)) for text in row]


def test_the_record_is_resumed_and_read(tmp_path, monkeypatch):
    made = []

    def planned(seeds):
        for seed in seeds:
            yield (
                {"table": "t", "seed": seed},
                lambda seed=seed: made.append(seed) or {"x": 0.5 * seed},
            )

    monkeypatch.setattr(human_feedback, "planned_runs", planned)
    path = tmp_path / "runs.json"
    human_feedback.make_missing_runs(path, [0], [])
    human_feedback.make_missing_runs(path, [1, 0], ["t"])
    human_feedback.make_missing_runs(path, [2], ["another"])
    assert made == [0, 1]
    runs = human_feedback.read_feedback(tmp_path)
    assert human_feedback.over_seeds(runs, "t", "x") == [0.0, 0.5]
    assert human_feedback.run_of(runs, "t", seed=1)["x"] == 0.5
    with pytest.raises(ValueError, match="0 runs of the table t"):
        human_feedback.run_of(runs, "t", seed=7)
