"""The planted faults of practice: each changes what it says it changes, and nothing else. No run is
trained here; the stored ones are read."""

import copy
import math
from dataclasses import replace
from random import Random

import pytest
import torch

from course_lib.alignment.grpo import group_advantages
from course_lib.alignment.rl_loop import RLHistory
from course_lib.alignment.rl_task import Question
from course_lib.alignment.run_log import RunLog
from course_lib.experiments import rl_failure_runs as runs
from course_lib.experiments.rl_failure_runs import PlantedRun
from course_lib.experiments.rl_failures import PRACTICE_SETTINGS, RL_FAULTS, Practice
from course_lib.inference.rollout import completion_log_probs, sample_completions
from course_lib.text.problems import ChainProblem
from tests.alignment.tiny import TOKENIZER, bits, fresh, one_quiet_thread, seeded  # noqa: F401

CHAIN = Question("7+5-3=?", ChainProblem((7, 5, 3), (1, -1)))
SMALL = replace(PRACTICE_SETTINGS, n_questions=2, group_size=4, max_new_tokens=6)


def planted(fault, model=None):
    return RL_FAULTS[fault](model or fresh(std=0.3), TOKENIZER, SMALL)


def samples(model):
    """Sample two groups of four whose lengths differ."""
    prompts = [[3, 1, 4, 1, 5], [2, 6]]
    first = sample_completions(model, prompts, 6, n_samples=4, generator=seeded(3))
    return sample_completions(
        model, prompts, 6, n_samples=4, stop_token=first.completions[0][2], generator=seeded(3)
    )


def earned(fault, *texts):
    return planted(fault).task().reward([CHAIN] * len(texts), texts)


def moved(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=seeded(1)))


UNTOUCHED = {
    "samples": {"stale log-probs", "wrong mask", "prompt learnt"},
    "advantages": {"advantage sign"},
    "settings": {"wrong temperature", "rate too high", "truncated paid", "no useful groups"},
    "rewards": {
        "reward with a hole", "length bias", "truncated paid", "format too strong",
        "format too weak", "no useful groups",
    },
}  # fmt: skip


@pytest.mark.parametrize("fault", RL_FAULTS)
def test_a_fault_changes_its_own_part_alone(fault):
    sound, broken = Practice(fresh(std=0.3), TOKENIZER, SMALL), planted(fault)
    moved(broken.model)  # so that a copy of the start is another model
    got = samples(broken.model)
    if fault not in UNTOUCHED["samples"]:
        assert broken.samples_to_learn_from(got) is got
    if fault not in UNTOUCHED["advantages"]:
        rewards = torch.rand(broken.settings.group_size * 2, generator=seeded())
        want = group_advantages(rewards, broken.settings.group_size)
        torch.testing.assert_close(broken.advantages(rewards), want)
    if fault not in UNTOUCHED["settings"]:
        assert broken.settings == broken.loss_settings() == sound.settings
    if fault not in UNTOUCHED["rewards"]:
        texts = ["9", "<think>7+5=12</think><answer>9</answer>", "大概 8"]
        both = [p.task().reward([CHAIN] * 3, texts) for p in (sound, broken)]
        assert both[0] == both[1] == [1, 2, 0]


def test_stale_log_probs_are_those_of_an_older_model():
    practice = planted("stale log-probs")
    before = copy.deepcopy(practice.model)
    got = samples(before)
    gaps = []
    for _ in range(7):
        read = practice.samples_to_learn_from(got)
        assert read.ids is got.ids and read.completion_mask is got.completion_mask
        now = completion_log_probs(practice.model, got).detach()
        gaps.append((read.log_probs - now).abs().max().item())
        torch.testing.assert_close(
            read.log_probs, completion_log_probs(before, got).detach() if len(gaps) < 7 else now
        )
        moved(practice.model)
    assert gaps[0] == gaps[6] == 0 and min(gaps[1:6]) > 0.01


def test_padding_counts_where_the_mask_is_wrong():
    practice = planted("wrong mask")
    got = samples(practice.model)
    read = practice.samples_to_learn_from(got)
    assert not got.completion_mask.all() and read.completion_mask.all()
    assert read.ids is got.ids and read.log_probs is got.log_probs


def test_the_question_counts_where_the_prompt_is_learnt():
    practice = planted("prompt learnt")
    got = samples(practice.model)
    read = practice.samples_to_learn_from(got)
    for row, (prompt, answer) in enumerate(zip(got.prompts, got.completions, strict=True)):
        whole, n = prompt + answer, len(prompt) + len(answer) - 1
        assert read.prompts[row] + read.completions[row] == whole
        assert read.completion_mask[row].sum() == n
        torch.testing.assert_close(
            read.log_probs[row, len(prompt) - 1 : n],
            got.log_probs[row, : len(answer)],
            atol=1e-4,
            rtol=1e-4,
        )
        assert (read.log_probs[row, : len(prompt) - 1] < 0).all()


def test_settings_that_are_wrong():
    practice = planted("wrong temperature")
    assert practice.settings.temperature == 0.7 and practice.loss_settings().temperature == 1
    assert planted("rate too high").optimizer.defaults["lr"] == pytest.approx(20 * SMALL.lr)
    hard = planted("no useful groups")
    assert (hard.settings.n_questions, hard.settings.group_size) == (12, 4)
    assert {len(hard.task().draw(Random(seed)).truth.numbers) for seed in range(20)} == {8}
    assert earned("no useful groups", "9", "<think>7+5=12</think><answer>9</answer>") == [0, 1]


def test_an_advantage_with_the_wrong_sign():
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0])
    practice = planted("advantage sign")
    assert practice.advantages(rewards).tolist() == [-0.75, 0.25, 0.25, 0.25]


def test_a_bonus_of_the_wrong_sign_makes_sure():
    found = {}
    for practice in (Practice(fresh(std=0.3), TOKENIZER, SMALL), planted("entropy collapse")):
        for group in practice.optimizer.param_groups:
            group["lr"] = 0.03
        got = samples(practice.model)
        practice.learn(got, torch.zeros(8), seeded())  # equal rewards teach nothing
        after = samples(practice.model)
        found[type(practice)] = -(after.log_probs.sum() / after.lengths.sum()).item()
    sound, broken = found[Practice], found[RL_FAULTS["entropy collapse"]]
    assert broken < 0.8 * sound


def test_rewards_that_pay_for_the_wrong_thing():
    assert earned("reward with a hole", "9", "8", "大概 8", "大概 9") == [1, 0, 1, 1]
    short, long = earned("length bias", "9", "8, " * 40)
    assert (short, long) == (pytest.approx(1 + 5 / 120), 5)
    assert earned("truncated paid", "9", "8", "7+5=12, and so on, " * 9) == [1, 0, 1]
    right, formed = "9", "<think>7+5=12</think><answer>8</answer>"
    assert earned("format too strong", right, formed) == [1, 5]
    assert earned("format too weak", right, formed) == [1, 0.02]


# --------------------------------------------------------------------------------------------- runs


def test_settings_vary_with_the_seed_and_no_judged_run_was_tuned_on():
    drawn = [runs.varied_settings(seed) for seed in range(40)]
    assert drawn == [runs.varied_settings(seed) for seed in range(40)]
    for name in ("lr", "group_size", "beta", "temperature", "average"):
        assert len({getattr(settings, name) for settings, _ in drawn}) == 3, name
    assert {s.n_questions * s.group_size for s, _ in drawn} == {48}
    assert len({str(rewards) for _, rewards in drawn}) == 3
    tuned, judged = (set(runs.runs_of_set(name)) for name in ("tuning", "judged"))
    assert {seed for _, seed in tuned}.isdisjoint(seed for _, seed in judged)
    assert len(judged) == 3 * len(RL_FAULTS) + 20


def a_run(fault, seed=0, ended="finished", **measures):
    history = RLHistory([0.5, -0.25], [1.0, 2.0], measures, ended=ended)
    return PlantedRun(fault, seed, SMALL, history)


def test_a_run_comes_back_from_its_file(tmp_path, monkeypatch):
    made = []

    def practice_run(fault, seed):
        made.append((fault, seed))
        ended = "interrupted" if seed == 9 else "finished"
        return a_run(fault, seed, ended, reward=[0.123456, math.nan])

    monkeypatch.setattr(runs, "practice_run", practice_run)
    file = tmp_path / "runs.json"
    runs.make_practice_runs(file, [("healthy", 1), ("wrong mask", 1)])
    runs.make_practice_runs(file, [("healthy", 1), ("healthy", 2)])
    assert made == [("healthy", 1), ("wrong mask", 1), ("healthy", 2)]
    first, *rest = runs.load_practice_runs(file)
    assert len(rest) == 2 and first.settings == SMALL and first.history.loss == [0.5, -0.25]
    reward = first.history.measures["reward"]
    assert reward[0] == 0.123 and math.isnan(reward[1]) and first.history.ended == "finished"
    with pytest.raises(KeyboardInterrupt, match="stopped after 2 steps"):
        runs.make_practice_runs(file, [("healthy", 9)])
    assert len(runs.load_practice_runs(file)) == 3
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match="damaged"):
        runs.load_practice_runs(file)


def test_a_table_of_verdicts_by_hand():
    rising, falling = ([0.1 + sign * 0.01 * step for step in range(10)] for sign in (1, -1))
    made = [
        a_run("healthy", reward=rising),
        a_run("advantage sign", reward=falling),
        a_run("advantage sign", reward=rising),
        a_run("wrong mask", reward=falling),
    ]
    table = runs.confusion_table(made)
    assert table["healthy"] == {"healthy": 1} and table["length bias"] == {}
    assert table["advantage sign"] == {"advantage sign": 1, "healthy": 1}
    assert runs.share_found(table) == pytest.approx(1 / 3)


def test_each_sign_of_the_lab_is_seen_in_one_run_alone():
    lab = runs.load_rl_lab()
    assert list(lab) == ["healthy", *"ABCDEF"]
    assert {run.fault for run in lab.values()} == {"healthy", *runs.RL_SIGNS}
    seen = {word: set() for word in runs.RL_EVIDENCE}
    for run in lab.values():
        log = RunLog(run.history.measures)
        gap = log.measures["sampling gap"]
        first = {name: log.mean_between(name, 0, 3) for name in ("reward", "entropy")}
        extra = log.mean_between("loss tokens", 0, 20) / log.mean_between("length", 0, 20)
        facts = {
            "reward falls": log.late("reward") < first["reward"] / 2,
            "paid, not right": log.late("reward: accuracy") - log.late("accuracy") > 0.1,
            "length always pays": log.late("length pays") > 0.45,
            "sure too soon": log.late("entropy") < first["entropy"] / 10,
            "too many tokens": extra > 1.3,
            "gap after step 1": gap[0] < 1e-6 and gap[4] > 0.03,
            "length grows": log.rises("length") > 5,
            "entropy falls": log.late("entropy") < first["entropy"] / 2,
            "gradient grows": log.rises("gradient norm") > 0,
        }
        for word in facts:
            if facts[word]:
                seen[word].add(run.fault)
    for fault, word in runs.RL_SIGNS.items():
        assert seen[word] == {fault}
    for word in set(runs.RL_EVIDENCE) - set(runs.RL_SIGNS.values()):
        assert "healthy" in seen[word] and len(seen[word]) > 2
