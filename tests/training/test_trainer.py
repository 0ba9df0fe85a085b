"""The loop: does it learn, stop, report, and repeat itself?"""

import math

import pytest
import torch

from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.training import trainer
from course_lib.training.objectives import bits_per_byte, next_token_loss
from course_lib.training.trainer import TrainSettings, train

TINY = GPT2Settings(vocab_size=8, max_seq_len=16, d_model=16, n_layers=1, n_heads=2)


def counting_up(seed=0, rows=8):
    """Batches of a language with one rule: the next token is the last one plus one."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        rows_of_numbers = (torch.randint(8, (rows, 1), generator=generator) + torch.arange(17)) % 8
        yield rows_of_numbers[:, :-1], rows_of_numbers[:, 1:]


def fresh(seed=0):
    torch.manual_seed(seed)
    return GPT2(TINY)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("COURSE_QUIET", "1")


def test_it_learns_a_rule_and_writes_down_how():
    model = fresh()
    history = train(model, counting_up(), TrainSettings(steps=150))
    assert history.ended == "finished"
    assert history.loss[0] == pytest.approx(math.log(8), abs=0.2) and history.loss[-1] < 0.1
    assert history.tokens == [128 * n for n in range(1, 151)]
    assert history.seconds == sorted(history.seconds) and len(history.seconds) == 150
    assert model(torch.tensor([[3]])).argmax() == 4


def test_same_seed_same_losses_other_seed_other_losses():
    runs = [train(fresh(seed), counting_up(seed), TrainSettings(steps=5)).loss for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_validation_and_callback_come_when_asked():
    seen = []
    history = train(
        fresh(), counting_up(), TrainSettings(steps=4), evaluate=lambda model: 1.5, evaluate_at=(0, 3),
        on_step=lambda step, model: seen.append(step),
    )  # fmt: skip
    assert history.validation == [(0, 1.5), (3, 1.5)] and seen == [1, 2, 3, 4]


def test_a_time_budget_ends_the_run_and_brings_the_learning_rate_down(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(trainer.time, "perf_counter", lambda: next(clock) / 2)     # half a second between looks
    rates = []
    set_rates = trainer.set_learning_rates

    def noting(optimisers, share, settings):
        rates.append(share)
        set_rates(optimisers, share, settings)

    monkeypatch.setattr(trainer, "set_learning_rates", noting)
    history = train(fresh(), counting_up(), TrainSettings(steps=1000, seconds=5.0))
    assert history.ended == "time" and len(history.loss) == 5
    assert rates == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])


def test_an_interrupted_run_keeps_what_it_learnt(capsys):
    def interrupt(step, model):
        if step == 7:
            raise KeyboardInterrupt

    model, untouched = fresh(), fresh()
    history = train(model, counting_up(), TrainSettings(steps=60), on_step=interrupt)
    assert history.ended == "interrupted" and len(history.loss) == 7
    assert "7 of 60 steps" in capsys.readouterr().out
    assert not torch.equal(model.token_embedding.weight, untouched.token_embedding.weight)


def test_too_few_batches_and_a_broken_loss_are_said():
    with pytest.raises(ValueError, match="batches ended after 2 of 5 steps"):
        train(fresh(), [next(counting_up())] * 2, TrainSettings(steps=5))
    model = fresh()
    model.norm.weight.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="NaN.*at step 1"):
        train(model, counting_up(), TrainSettings(steps=5))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [({"steps": 0}, "steps 0"), ({"steps": 1, "clip": 0.0}, "clip 0"), ({"steps": 1, "seconds": -3.0}, "seconds -3"),
     ({"steps": 1, "decay": 1.2}, "decay 1.2")],
)  # fmt: skip
def test_impossible_settings_name_their_numbers(numbers, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**numbers)


def test_the_bar_shows_speed_and_is_silent_where_asked(monkeypatch, capsys):
    train(fresh(), counting_up(), TrainSettings(steps=2))
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("COURSE_QUIET")
    train(fresh(), counting_up(), TrainSettings(steps=2))
    assert "tokens/s" in capsys.readouterr().err


def test_the_loss_is_the_mean_surprise():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 1, 2], [3, 4, 0]])
    by_hand = [-math.log(logits[b, t].softmax(-1)[targets[b, t]]) for b in range(2) for t in range(3)]
    assert next_token_loss(logits, targets).item() == pytest.approx(sum(by_hand) / 6, abs=1e-5)


def test_bits_per_byte_of_nothing_is_refused():
    assert bits_per_byte(nats=8 * math.log(2), n_bytes=4) == pytest.approx(2)
    with pytest.raises(ValueError, match="0 bytes"):
        bits_per_byte(1.0, 0)


def test_the_gradient_is_clipped_before_the_step_and_forgotten_after_it():
    model, (inputs, targets) = fresh(), next(counting_up())
    lengths = []

    class Spy(torch.optim.SGD):
        def step(self):
            lengths.append(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item())

    for clip in (1e9, 0.01):
        trainer.training_step(model, [Spy(model.parameters())], next_token_loss, inputs, targets, clip)
        assert all(p.grad is None for p in model.parameters())
    assert lengths[0] > 0.05 and lengths[1] == pytest.approx(0.01, rel=1e-3)


def test_moments_without_a_function_to_evaluate_are_refused():
    with pytest.raises(ValueError, match=r"evaluate_at \[2\] needs a function"):
        train(fresh(), counting_up(), TrainSettings(steps=3), evaluate_at=[2])
