"""The loop of practice: what it asks, what it writes down, how it is stopped, and how it goes
on."""

import json
import math
import os
import signal
from dataclasses import asdict, replace
from random import Random

import pytest
import torch

from course_lib.alignment.rl_loop import (
    RLHistory,
    RLSettings,
    RolloutBatch,
    rl_optimizer_step,
    run_rl,
    sample_rollouts,
)
from course_lib.alignment.rl_task import (
    Question,
    RLTask,
    answer_questions,
    compute_rewards,
    question_prompt_ids,
)
from course_lib.alignment.sft import sft_examples
from course_lib.inference.generate import generate
from course_lib.text.chat import END_OF_TEXT
from course_lib.training.checkpoint import CheckpointError
from course_lib.training.resume import Checkpoints
from tests.alignment.tiny import (
    QUESTIONS,
    TOKENIZER,
    bits,
    completions,
    count_of,
    fresh,
    one_quiet_thread,  # noqa: F401
    seeded,
    unchecked_settings,
)

SETTINGS = RLSettings(8, n_questions=2, group_size=3, max_new_tokens=4, lr=0.1)
TASK = count_of("e", out_of=4)
END = TOKENIZER.special_tokens[END_OF_TEXT]


# ----------------------------------------------------------------------------- settings and history


WHOLE_NUMBERS = (
    "steps",
    "n_questions",
    "group_size",
    "max_new_tokens",
    "n_minibatches",
    "n_epochs",
)
ABOVE_ZERO = ("temperature", "lr", "clip_gradient")
REAL_NUMBERS = (*ABOVE_ZERO, "beta", "warmup", "decay", "clip_low", "clip_high")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *(({name: 0}, f"{name} 0 must be at least 1") for name in WHOLE_NUMBERS),
        *(
            ({name: value}, f"{name} {value} must be a number above 0")
            for name in ABOVE_ZERO
            for value in (0.0, -1.0, math.nan, math.inf)
        ),
        ({"beta": -0.1}, "beta -0.1 must be 0 or a number above it"),
        ({"beta": math.nan}, "beta nan"),
        ({"warmup": 1.5}, "warmup 1.5 and decay 0.5 shares of the run"),
        ({"decay": -0.5}, "warmup 0.08 and decay -0.5 shares of the run"),
        ({"clip_low": 2.0}, "clip_low 2.0"),
        *(
            ({name: value}, f"{name} {value!r} must be at least 1, and a whole number")
            for value in (2.5, 2.0, True, "2", math.nan, math.inf)
            for name in WHOLE_NUMBERS
        ),
        *(
            ({name: value}, f"{name} {value!r} ")
            for value in (True, "1", math.nan, math.inf, -math.inf)
            for name in REAL_NUMBERS
        ),
    ],
)
def test_impossible_settings_name_their_numbers(wrong, message):
    with pytest.raises(ValueError, match=message):
        unchecked_settings(RLSettings, **{"steps": 10} | wrong)


def test_the_learning_rate_by_hand():
    s = RLSettings(10, warmup=0.2, decay=0.4)
    # at 0.05, 0.15, ... 0.95
    want = [0.25, 0.75, 1, 1, 1, 1, 0.35 / 0.4, 0.25 / 0.4, 0.15 / 0.4, 0.05 / 0.4]
    assert [s.share_of_peak(step) for step in range(1, 11)] == pytest.approx(want)
    assert RLSettings(1).share_of_peak(1) == 1


def test_a_history_keeps_its_columns_side_by_side():
    history = RLHistory()
    assert history.spent() == 0
    history.record(1.0, 0.5, reward=0.1)
    history.record(2.5, 0.25, reward=0.2, late=7.0)
    history.record(3.0, 0.125, late=8.0)
    assert (
        history.loss == [0.5, 0.25, 0.125]
        and history.seconds == [1, 2.5, 3]
        and history.spent() == 3
    )
    columns = {name: [None if math.isnan(value) else value for value in values]
               for name, values in history.measures.items()}  # fmt: skip
    assert columns == {"reward": [0.1, 0.2, None], "late": [None, 7.0, 8.0]}


@pytest.mark.parametrize(("loss", "word"), [(math.nan, "NaN"), (math.inf, "infinite")])
def test_a_loss_that_is_no_number_is_told_and_not_written_down(loss, word):
    history = RLHistory(loss=[1.0], seconds=[1.0], measures={"reward": [0.5]})
    with pytest.raises(FloatingPointError, match=f"the loss is {word} at step 2"):
        history.record(2.0, loss, reward=1.0)
    assert asdict(history) == asdict(RLHistory([1.0], [1.0], {"reward": [0.5]}))


def test_a_history_comes_back_from_json():
    history = RLHistory([0.5], [1.5], {"reward": [0.25]}, [(1, "a?", "e", 0.25)], ended="finished")
    assert RLHistory.from_data(json.loads(json.dumps(asdict(history)))) == history


def test_the_first_answer_to_each_question_is_kept():
    questions = [Question(text, None) for text in ("a?", "a?", "b?", "b?")]
    history = RLHistory()
    history.keep(
        7,
        RolloutBatch(
            questions, list("wxyz"), completions([1] * 4, torch.zeros(4, 1)), torch.arange(4.0)
        ),
        2,
    )
    assert history.samples == [(7, "a?", "w", 0.0), (7, "b?", "y", 2.0)]


def test_of_questions_that_are_asked_once_every_answer_is_kept():
    """PPO compares no answers, so that a group may be of one."""
    questions, history = [Question("a?", None), Question("b?", None)], RLHistory()
    table = completions([1, 1], torch.zeros(2, 1))
    history.keep(3, RolloutBatch(questions, ["w", "x"], table, torch.arange(2.0)), group_size=1)
    assert history.samples == [(3, "a?", "w", 0.0), (3, "b?", "x", 1.0)]


# ------------------------------------------------------------------------------ prompts and answers


def test_a_prompt_is_the_start_of_a_training_text_and_ends_where_the_answer_begins():
    messages = [{"role": "user", "content": "7+5=?"}, {"role": "assistant", "content": "12"}]
    got = question_prompt_ids(TOKENIZER, "7+5=?")
    assert [got] == [example.prompt for example in sft_examples(TOKENIZER, [messages])]
    assert TOKENIZER.decode(got) == "<|endoftext|>User: 7+5=?\nAssistant: "
    with pytest.raises(ValueError, match="special token"):
        question_prompt_ids(TOKENIZER, "7<think>?")


def test_greedy_answers_are_those_of_generate_without_the_end():
    model = fresh(std=0.3)
    texts, got = answer_questions(
        model, TOKENIZER, QUESTIONS, max_new_tokens=5, n_samples=2, temperature=0.0
    )
    for row, question in enumerate(question for question in QUESTIONS for _ in range(2)):
        ids = question_prompt_ids(TOKENIZER, question)
        want = generate(model, torch.tensor([ids]), 5, temperature=0.0)[0, len(ids) :].tolist()
        want = want[: want.index(END)] if END in want else want
        assert texts[row] == TOKENIZER.decode(want) and got.prompts[row] == ids


def test_the_end_of_an_answer_is_a_token_but_no_text():
    model = fresh()
    with torch.no_grad():
        model.head.weight.zero_()
        # the end or anything: by the sign of a sum, so one of two ways
        model.head.weight[END] = 1.0
    texts, got = answer_questions(model, TOKENIZER, QUESTIONS, 3, n_samples=8, generator=seeded())
    for text, ids in zip(texts, got.completions, strict=True):
        assert ids.count(END) <= 1 and text == TOKENIZER.decode([i for i in ids if i != END])
    assert got.finished.any() and "" in texts and not any(END_OF_TEXT in text for text in texts)


def test_prompts_too_long_for_the_model_name_their_numbers():
    n = len(question_prompt_ids(TOKENIZER, "x" * 60))
    with pytest.raises(
        ValueError, match=f"prompt 1 has {n} tokens and is to get 5 more.*at most 64"
    ):
        answer_questions(fresh(), TOKENIZER, ["a?", "x" * 60], max_new_tokens=5)


def rated_by(reward):
    return RLTask(TASK.draw, reward)


def test_rewards_that_are_too_few_or_no_numbers_are_refused_by_name():
    questions, answers = [Question("a?", 1), Question("b?", 2)], ["first", "second"]
    got = compute_rewards(rated_by(lambda questions, answers: (True, 0.5)), questions, answers)
    assert got.tolist() == [1.0, 0.5] and got.dtype == torch.float32
    for n in (1, 3, 0):
        with pytest.raises(ValueError, match=f"the task gave {n} rewards for 2 answers"):
            compute_rewards(rated_by(lambda questions, answers, n=n: [1.0] * n), questions, answers)
    for wrong in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=rf"the reward is {wrong} for 'second' to 'b\?'"):
            compute_rewards(
                rated_by(lambda questions, answers, wrong=wrong: [1.0, wrong]), questions, answers
            )


def test_samples_stand_together_by_question():
    model = fresh()
    seen = []

    def reward(questions, answers):
        seen.append((list(questions), list(answers)))
        return list(range(len(answers)))

    got = sample_rollouts(model, TOKENIZER, rated_by(reward), SETTINGS, Random(3), seeded(4))
    rng = Random(3)
    asked = [TASK.draw(rng), TASK.draw(rng)]
    assert got.questions == [asked[0]] * 3 + [asked[1]] * 3 and got.rewards.tolist() == [
        0,
        1,
        2,
        3,
        4,
        5,
    ]
    assert seen == [(got.questions, got.answers)]
    assert got.completions.prompts == [
        question_prompt_ids(TOKENIZER, question.text) for question in got.questions
    ]
    again = sample_rollouts(model, TOKENIZER, rated_by(reward), SETTINGS, Random(3), seeded(4))
    assert again.answers == got.answers and len(set(got.answers)) > 1
    hot = sample_rollouts(
        model,
        TOKENIZER,
        rated_by(reward),
        replace(SETTINGS, temperature=1e-3),
        Random(3),
        seeded(4),
    )
    assert len(set(hot.answers[:3])) == 1 and hot.completions.completion_mask.shape[1] <= 4


def test_one_step_downhill_by_hand():
    point = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(point.weight)
    optimizer = torch.optim.SGD(point.parameters(), lr=0.5)
    loss = point(torch.tensor([3.0, 4.0])).sum() + 7  # slope (3, 4) of length 5
    assert rl_optimizer_step(point, optimizer, loss, clip_gradient=2.5) == 7
    # half of half of it
    torch.testing.assert_close(point.weight.data, torch.tensor([[-0.75, -1.0]]))
    assert point.weight.grad is None


def test_a_step_forgets_gradients_that_lay_about_and_refuses_those_that_are_not_finite():
    point = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(point.weight)
    optimizer = torch.optim.SGD(point.parameters(), lr=1.0)
    point(torch.tensor([50.0, 70.0])).sum().backward()
    rl_optimizer_step(point, optimizer, point(torch.tensor([3.0, 4.0])).sum(), clip_gradient=10.0)
    torch.testing.assert_close(point.weight.data, torch.tensor([[-3.0, -4.0]]))
    # 0, with a slope that is none
    steep = (point.weight - point.weight.detach()).abs().sqrt().sum()
    with pytest.raises(FloatingPointError, match="the gradient of weight is NaN in 2 of 2 places"):
        rl_optimizer_step(point, optimizer, steep, clip_gradient=1.0)
    with pytest.raises(FloatingPointError, match="the loss is infinite"):
        rl_optimizer_step(point, optimizer, point.weight.sum() + math.inf, clip_gradient=1.0)
    torch.testing.assert_close(point.weight.data, torch.tensor([[-3.0, -4.0]]))


def test_a_gradient_that_is_not_finite_ends_the_run_and_the_last_checkpoint_is_whole(tmp_path):
    model, kept = fresh(), {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)

    def learn(completions, rewards, generator):
        kept["bits"] = bits(model)
        loss = model(completions.ids).square().mean()
        if len(kept.setdefault("losses", [])) == 4:
            loss = loss + (loss - loss.detach()).abs().sqrt()
        kept["losses"].append(rl_optimizer_step(model, optimizer, loss, 1.0))
        return {"loss": kept["losses"][-1]}

    checkpoints = Checkpoints(tmp_path, every=1, keep=1)
    with pytest.raises(FloatingPointError, match="the gradient of .*weight is NaN in .* at step 5"):
        run_rl(model, TOKENIZER, TASK, SETTINGS, learn, [optimizer], checkpoints=checkpoints)
    assert checkpoints.steps() == [4] and bits(model) == kept["bits"]
    back = fresh()
    checkpoints.restore(back, [torch.optim.AdamW(back.parameters(), lr=0.01)], SETTINGS, RLHistory)
    assert bits(back) == kept["bits"]


# ----------------------------------------------------------------------------------------- the loop


class Learner:
    """Learns in a crude way, from its own averages and from random numbers: push up what earned a
    reward."""

    def __init__(self, model, at_step=lambda step: None):
        self.model, self.at_step = model, at_step
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        self.seen = []

    def __call__(self, completions, rewards, generator):
        self.at_step(len(self.seen) + 1)
        self.seen.append(
            (completions.completions, rewards.tolist(), self.optimizer.param_groups[0]["lr"])
        )
        ids = completions.ids[rewards.argmax()]
        loss = -self.model(ids[None])[0].log_softmax(-1).mean(0)[ids].mean() * (
            1 + torch.rand((), generator=generator)
        )
        return {"loss": rl_optimizer_step(self.model, self.optimizer, loss, 1.0)}


def run(
    folder=None, at_step=lambda step: None, every=3, task=TASK, seed=0, settings=SETTINGS, **options
):
    learner = Learner(fresh(), at_step)
    checkpoints = Checkpoints(folder, every) if folder else None
    history = run_rl(
        learner.model,
        TOKENIZER,
        task,
        settings,
        learner,
        [learner.optimizer],
        seed=seed,
        checkpoints=checkpoints,
        **options,
    )
    return learner, history


@pytest.fixture(scope="module")
def never_stopped():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    got = run()
    torch.set_num_threads(threads)
    return got


def ends_the_same(folder, never_stopped, **options):
    learner, history = run(folder, **options)
    want = never_stopped[1]
    assert (
        history.ended == "finished"
        and history.loss == want.loss
        and history.measures == want.measures
    )
    assert bits(learner.model) == bits(never_stopped[0].model)
    assert history.seconds == sorted(history.seconds)
    return learner


def test_what_is_written_down(never_stopped):
    learner, history = never_stopped
    assert history.ended == "finished" and len(learner.seen) == len(history.seconds) == 8
    of_answers = {"reward", "length", "longest", "prompt", "cut off", "entropy"}
    of_groups = {"reward spread", "equal groups", "length of unequal", "length pays"}
    assert set(history.measures) - {"reward of cut off"} == of_answers | of_groups
    assert all(len(values) == 8 for values in history.measures.values())
    assert history.measures["reward"] == pytest.approx(
        [sum(rewards) / 6 for _, rewards, _ in learner.seen]
    )
    rates = [0.01 * SETTINGS.share_of_peak(step) for step in range(1, 9)]
    assert [rate for _, _, rate in learner.seen] == pytest.approx(rates)
    assert len({str(texts) for texts, _, _ in learner.seen}) == 8 and history.samples == []
    assert learner.optimizer.param_groups[0]["peak_lr"] == 0.01


def test_the_seed_decides(never_stopped):
    again, other = run()[0], run(seed=1)[0]
    assert again.seen == never_stopped[0].seen and bits(again.model) == bits(never_stopped[0].model)
    assert other.seen[0][0] != again.seen[0][0]


def test_every_step_of_every_seed_draws_anew():
    """Nothing is learnt, so that only the draws differ."""
    model, drawn = fresh(), []

    def look(completions, rewards, generator):
        noise = torch.rand((), generator=generator).item()
        drawn.append((str(completions.prompts), str(completions.completions), noise))
        return {"loss": 0.0}

    for seed in (0, 1):
        run_rl(model, TOKENIZER, TASK, replace(SETTINGS, n_questions=5), look, [], seed=seed)
    asked, answered, noise = map(set, zip(*drawn, strict=True))
    assert len(answered) == len(noise) == 16 and len(asked) > 12


def test_samples_and_measures_of_the_task_are_kept():
    measured = []

    def measure(questions, answers):
        measured.append((questions, answers))
        return {"first": float(len(answers[0]))} if len(measured) != 2 else {}

    history = run(task=replace(TASK, measure=measure), keep_samples_at=(2, 5, 99))[1]
    want = [
        (step, questions[i].text, answers[i])
        for step in (2, 5)
        for questions, answers in [measured[step - 1]]
        for i in (0, 3)
    ]
    assert [kept[:3] for kept in history.samples] == want
    assert all(reward == answer.count("e") / 4 for _, _, answer, reward in history.samples)
    assert [math.isnan(value) for value in history.measures["first"]] == [False, True] + [False] * 6


class Killed(Exception):
    pass


def kill(at):
    def at_step(step):
        if step == at:
            raise Killed

    return at_step


@pytest.mark.parametrize("kills", [(1,), (3,), (4,), (8,), (5, 2, 1, 3)])
def test_killed_and_resumed_is_never_killed(tmp_path, never_stopped, kills):
    for at in kills:  # counted from the last checkpoint
        with pytest.raises(Killed):
            run(tmp_path, kill(at), keep_samples_at=(2, 7))
    ends_the_same(tmp_path, never_stopped, keep_samples_at=(2, 7))
    assert Checkpoints(tmp_path).steps() == [6, 8]
    assert Checkpoints(tmp_path).newest()[1]["history"]["samples"][0][0] == 2


def interrupt(at, times=1):
    def at_step(step):
        for _ in range(times if step == at else 0):
            os.kill(os.getpid(), signal.SIGINT)

    return at_step


@pytest.mark.parametrize("at", [1, 4, 7])
def test_an_interrupt_waits_for_the_step_and_keeps_the_model(tmp_path, never_stopped, capsys, at):
    before = signal.getsignal(signal.SIGINT)
    learner, history = run(tmp_path, interrupt(at))
    assert history.ended == "interrupted" and len(learner.seen) == len(history.loss) == at
    assert history.loss == never_stopped[1].loss[:at] and bits(learner.model) != bits(fresh())
    assert (
        f"Stopped after {at} of 8 steps. The model keeps what it has learnt."
        in capsys.readouterr().out
    )
    assert signal.getsignal(signal.SIGINT) is before
    assert len(ends_the_same(tmp_path, never_stopped).seen) == 8 - at


def test_an_interrupt_in_the_last_step_has_nothing_to_stop(never_stopped):
    assert run(at_step=interrupt(8))[1].ended == "finished"


def test_a_second_interrupt_does_not_wait_and_the_run_is_not_finished(
    tmp_path, never_stopped, capsys
):
    learner, history = run(tmp_path, interrupt(5, times=2))
    assert (
        history.ended == "interrupted"
        and len(history.loss) == 4
        and learner.seen == never_stopped[0].seen[:4]
    )
    assert "Stopped after 4 of 8 steps" in capsys.readouterr().out
    assert Checkpoints(tmp_path).steps() == [3]
    ends_the_same(tmp_path, never_stopped)


def test_a_finished_run_is_not_run_again(tmp_path, never_stopped):
    run(tmp_path)
    learner, history = run(tmp_path, lambda step: pytest.fail("a step too many"))
    assert history.ended == "finished" and bits(learner.model) == bits(never_stopped[0].model)


def test_other_settings_are_refused(tmp_path):
    run(tmp_path, interrupt(2))
    with pytest.raises(CheckpointError, match="temperature 1.0, now 0.5"):
        run(tmp_path, settings=replace(SETTINGS, temperature=0.5))


def test_all_learners_are_kept(tmp_path):
    """A second module that learns, as a critic does, goes on from where it was."""

    def both(folder, at):
        learner, critic = Learner(fresh(), kill(at)), torch.nn.Linear(1, 1)
        torch.nn.init.zeros_(critic.weight)

        def learn(completions, rewards, generator):
            with torch.no_grad():
                critic.weight += rewards.sum() + len(completions.ids)
            return learner(completions, rewards, generator)

        together = torch.nn.ModuleList([learner.model, critic])
        run_rl(
            learner.model, TOKENIZER, TASK, SETTINGS, learn, [learner.optimizer], learners=together,
            checkpoints=Checkpoints(folder, 3),
        )  # fmt: skip
        return bits(together)

    with pytest.raises(Killed):
        both(tmp_path / "killed", at=5)
    assert both(tmp_path / "killed", at=0) == both(tmp_path / "never", at=0)


def test_a_loss_that_is_no_number_ends_the_run_with_its_step(tmp_path):
    def learn(completions, rewards, generator):
        return {"loss": math.nan}

    model = fresh()
    with pytest.raises(FloatingPointError, match="the loss is NaN at step 1"):
        run_rl(model, TOKENIZER, TASK, SETTINGS, learn, [], checkpoints=Checkpoints(tmp_path, 1))
    assert Checkpoints(tmp_path).steps() == []
