"""The loop: does it learn, stop, report, and repeat itself?"""

import contextlib
import json
import math
from dataclasses import fields

import pytest
import torch

from course_lib.layers.moe import expert_balance_loss
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.training import distributed, trainer
from course_lib.training.callbacks import Callback
from course_lib.training.deepseek_objective import balance_by_bias, deepseek_objective, moe_layers
from course_lib.training.loop import progress_bar, tell_if_interrupted
from course_lib.training.objectives import bits_per_byte, next_token_loss, next_token_objective
from course_lib.training.optimizers import build_optimizers
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import TrainHistory, TrainSettings
from course_lib.training.trainer import show_training_progress, train, train_to_the_end
from tests.training import objectives_of_all_kinds
from tests.training.runs import batches, bits, model_of_everything

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
    runs = [
        train(fresh(seed), counting_up(seed), TrainSettings(steps=5)).loss for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_validation_and_callback_come_when_asked():
    seen = []
    history = train(
        fresh(),
        counting_up(),
        TrainSettings(steps=4),
        evaluate=lambda model: 1.5,
        evaluate_at=(0, 3),
        on_step=lambda step, model: seen.append(step),
    )
    assert history.validation == [(0, 1.5), (3, 1.5)] and seen == [1, 2, 3, 4]


@pytest.mark.parametrize("clock, name", [("wall", "perf_counter"), ("processor", "process_time")])
def test_a_time_budget_ends_the_run_and_brings_the_learning_rate_down(clock, name, monkeypatch):
    looks = iter(range(1000))
    # half a second between looks
    monkeypatch.setattr(trainer.time, name, lambda: next(looks) / 2)
    settings = TrainSettings(steps=1000, seconds=5.0, schedule=lambda share: share, clock=clock)
    history = train(fresh(), counting_up(), settings)
    assert history.ended == "time" and len(history.loss) == 5
    assert history.rate == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])


def test_a_slow_first_batch_is_no_part_of_the_schedule(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(trainer.time, "perf_counter", lambda: clock[0])

    def batches():
        clock[0] += 3.0  # encoding the text, say
        for batch in counting_up():
            yield batch
            clock[0] += 0.5

    settings = TrainSettings(steps=1000, seconds=2.0, schedule=lambda share: share)
    history = train(fresh(), batches(), settings)
    assert history.rate == pytest.approx([0.0005, 0.25, 0.5, 0.75, 1.0])


def test_an_interrupted_run_keeps_what_it_learnt(capsys):
    def interrupt(step, model):
        if step == 7:
            raise KeyboardInterrupt

    model, untouched = fresh(), fresh()
    history = train(model, counting_up(), TrainSettings(steps=60), on_step=interrupt)
    assert history.ended == "interrupted" and len(history.loss) == 7
    assert "7 of 60 steps" in capsys.readouterr().out
    assert not torch.equal(model.token_embedding.weight, untouched.token_embedding.weight)


def test_half_a_run_is_no_measurement():
    def interrupt(step, model):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="after 3 steps"):
        train_to_the_end(fresh(), counting_up(), TrainSettings(steps=9), on_step=interrupt)
    assert train_to_the_end(fresh(), counting_up(), TrainSettings(steps=2)).ended == "finished"


def test_too_few_batches_and_a_broken_loss_are_said():
    with pytest.raises(ValueError, match="batches ended after 2 of 5 steps"):
        train(fresh(), [next(counting_up())] * 2, TrainSettings(steps=5))
    model = fresh()
    for number, name in ((math.nan, "NaN"), (math.inf, "infinite")):
        with pytest.raises(FloatingPointError, match=f"{name}.*at step 1"):
            train(
                model,
                counting_up(),
                TrainSettings(steps=5),
                loss_of=lambda z, y, n=number: z.sum() * 0 + n,
            )


@pytest.mark.parametrize(
    ("numbers", "message"),
    [({"steps": 0}, "steps 0"), ({"clip": 0.0}, "clip 0"), ({"seconds": -3.0}, "seconds -3"),
     ({"decay": 1.2}, "decay 1.2"), ({"warmup": -0.1}, "warmup -0.1"),
     ({"accumulate": 0}, "accumulate 0"),
     ({"muon_lr": -1.0}, "muon_lr -1.0"), ({"adam_lr": math.nan}, "adam_lr nan"),
     ({"weight_decay": -0.1}, "weight_decay -0.1"),
     ({"optimizer": "sgd"}, "'sgd' is not one of muon, adamw"),
     ({"precision": "float16"}, "'float16' is not one of float32, bfloat16"),
     ({"schedule": "linear"}, "'linear' is not one of wsd, cosine, multi-step"),
     ({"clock": "sun"}, "'sun' is not one of wall, processor")],
)  # fmt: skip
def test_impossible_settings_name_their_numbers(numbers, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**{"steps": 1} | numbers)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("wsd", [0.5, 1, 1, 1, 1, 1, 1, 1, 0.75, 0.25]),
     ("multi-step", [0.5, 1, 1, 1, 1, 1, 1, 1, 0.316, 0.099856]),
     ("cosine", [0.5, *(0.55 + 0.45 * math.cos(math.pi * (k - 0.5) / 9) for k in range(1, 10))]),
     (lambda p: p / 2, None)],
)  # fmt: skip
def test_the_schedule_is_chosen_by_name_or_is_a_function(schedule, rates):
    settings = TrainSettings(steps=10, warmup=0.1, decay=0.2, schedule=schedule)
    history = train(fresh(), counting_up(), settings)
    assert history.rate == pytest.approx(rates or [(step + 0.5) / 20 for step in range(10)])
    assert min(history.rate) > 0  # neither the first step nor the last one stands still


def test_a_rate_of_nothing_moves_nothing_whichever_the_optimizer():
    for optimizer in ("muon", "adamw"):
        moved = []
        for rate in (0.0, 0.5):
            model, untouched = fresh(), fresh()
            settings = TrainSettings(
                1, optimizer=optimizer, schedule=lambda _, rate=rate: rate, weight_decay=0.1
            )
            train(model, counting_up(), settings)
            pairs = zip(model.parameters(), untouched.parameters(), strict=True)
            moved.append([not torch.equal(p, q) for p, q in pairs])
        assert not any(moved[0]) and all(moved[1])


def test_the_bar_shows_speed_and_is_silent_where_asked(monkeypatch, capsys):
    train(fresh(), counting_up(), TrainSettings(steps=2))
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("COURSE_QUIET")
    train(fresh(), counting_up(), TrainSettings(steps=2))
    assert "tokens/s" in capsys.readouterr().err


def test_the_bar_goes_on_where_a_run_goes_on(monkeypatch):
    monkeypatch.delenv("COURSE_QUIET")
    with progress_bar(8, done=3) as bar:
        assert (bar.n, bar.total) == (3, 8)
        show_training_progress(bar, loss=1.234, speed=5678.9)
        assert (bar.n, bar.postfix) == (4, "loss 1.23 nats/token, 5,679 tokens/s")


def test_of_several_processes_the_first_alone_speaks(monkeypatch, capsys):
    monkeypatch.delenv("COURSE_QUIET")
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "process_rank", lambda rank=rank: rank)
        progress_bar(8, done=3).close()
        tell_if_interrupted("interrupted", 3, 8)
        said = capsys.readouterr()
        assert ("3/8" in said.err, "Stopped after 3 of 8" in said.out) == (rank == 0, rank == 0)


def test_the_bar_stands_before_the_first_evaluation(monkeypatch, capsys):
    monkeypatch.delenv("COURSE_QUIET")
    shown = []

    def evaluate(model):
        shown.append(capsys.readouterr().err)
        return 1.0

    train(fresh(), counting_up(), TrainSettings(2), evaluate=evaluate, evaluate_at=[0])
    assert "0/2" in shown[0]


def test_the_loss_is_the_mean_surprise():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 1, 2], [3, 4, 0]])
    by_hand = [
        -math.log(logits[b, t].softmax(-1)[targets[b, t]]) for b in range(2) for t in range(3)
    ]
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
            lengths.append(
                torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item()
            )

    for clip in (1e9, 0.01):
        settings = TrainSettings(steps=1, clip=clip)
        _, before = trainer.training_step(
            model, [Spy(model.parameters())], next_token_objective, inputs, targets, settings
        )
        assert all(p.grad is None for p in model.parameters())
        assert before == pytest.approx(lengths[0])
    assert lengths[0] > 0.05 and lengths[1] == pytest.approx(0.01, rel=1e-3)


def gradients(model, inputs, targets, accumulate, objective=next_token_objective):
    settings = TrainSettings(steps=1, accumulate=accumulate)
    loss = trainer.accumulate_gradients(model, objective, inputs, targets, settings)
    return loss, [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("accumulate", [2, 3, 8, 11])  # of 8 rows
@pytest.mark.parametrize("padding", ["none", "uneven", "whole rows"])
def test_accumulated_gradients_are_those_of_the_whole_batch(accumulate, padding):
    inputs, targets = next(counting_up())
    targets = targets.clone()
    if padding == "uneven":
        for row in range(8):
            targets[row, 2 * row + 1 :] = -100
    elif padding == "whole rows":
        targets[[0, 3, 4, 5]] = -100  # of 8 parts, four hold nothing to learn
    model = fresh().double()
    want = next_token_loss(model(inputs), targets)
    slopes = torch.autograd.grad(want, list(model.parameters()))
    loss, got = gradients(fresh().double(), inputs, targets, accumulate)
    assert loss == pytest.approx(want.item())
    for ours, truth in zip(got, slopes, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-9, atol=1e-12)


def test_batches_that_teach_nothing_are_refused():
    inputs, targets = next(counting_up())
    with pytest.raises(ValueError, match="none of the 128 targets"):
        gradients(fresh(), inputs, torch.full_like(targets, -100), 1)


@pytest.mark.parametrize("accumulate", [2, 3, 20])
@pytest.mark.parametrize("name", objectives_of_all_kinds.NAMES)
def test_every_objective_is_a_mean_that_no_cut_changes(name, accumulate):
    model, objective, inputs, targets = objectives_of_all_kinds.case(name)
    want = objective(model, inputs, targets).mean
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    slopes = torch.autograd.grad(want, list(parameters.values()), allow_unused=True)
    loss, _ = gradients(model, inputs, targets, accumulate, objective)
    assert (
        loss == pytest.approx(want.item(), rel=1e-6)
        and sum(slope is not None for slope in slopes) > 5
    )
    for parameter, truth in zip(parameters.values(), slopes, strict=True):
        if truth is not None:
            torch.testing.assert_close(parameter.grad, truth, rtol=1e-5, atol=1e-8)


def test_a_loss_that_looks_at_a_whole_batch_is_not_cut():
    model, objective, inputs, targets = objectives_of_all_kinds.case("expert over the batch")
    loss, slopes = gradients(model, inputs, targets, 1, objective)
    by_hand = next_token_objective(model, inputs, targets).mean
    by_hand = by_hand + 0.5 * expert_balance_loss(moe_layers(model)[0].routing, over="batch")
    assert loss == pytest.approx(by_hand.item(), rel=1e-6) and any(
        slope is not None for slope in slopes
    )
    with pytest.raises(
        ValueError,
        match="experts over the batch looks at a whole batch.*accumulate 2 and 1 processes",
    ):
        gradients(model, inputs, targets, 2, objective)


def test_a_plain_number_is_a_mean_over_rows_and_nothing_else_is_taken():
    model, objective, inputs, targets = objectives_of_all_kinds.case("dpo")

    def plain(*batch):
        return objective(*batch).mean

    whole = gradients(model, inputs, targets, 1, plain)
    whole = whole[0], [slope.clone() for slope in whole[1]]
    model.zero_grad()
    cut = gradients(model, inputs, targets, 2, plain)  # of two pairs and one
    assert cut[0] == pytest.approx(whole[0])
    for ours, theirs in zip(cut[1], whole[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    for wrong, found in (
        (lambda m, x, y: m(x), r"a tensor of shape \(8, 16, 8\)"),
        (lambda m, x, y: 3.0, "float"),
    ):
        with pytest.raises(TypeError, match=f"LossSum or one number, not {found}"):
            gradients(fresh(), *next(counting_up()), 1, wrong)


def test_gradients_that_lay_about_are_not_learnt_from():
    inputs, targets = next(counting_up())
    clean, looked_at = fresh(), fresh()
    next_token_objective(looked_at, inputs[:1], targets[:1]).backward()
    runs = [train(model, [(inputs, targets)] * 3, TrainSettings(3)) for model in (clean, looked_at)]
    assert runs[0].gradient == runs[1].gradient and runs[0].loss == runs[1].loss
    assert bits(clean) == bits(looked_at)


def test_one_step_moves_every_parameter():
    model, untouched = fresh(), fresh()
    train(model, counting_up(), TrainSettings(1))
    assert not any(
        torch.equal(p, q) for p, q in zip(model.parameters(), untouched.parameters(), strict=True)
    )


@pytest.mark.parametrize(("slope", "word"), [(math.inf, "infinite"), (math.nan, "NaN")])
def test_a_gradient_that_is_not_finite_is_refused_before_it_is_stepped_by(tmp_path, slope, word):
    """The loss is finite; the gradient of one parameter is not, in the third step."""

    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return torch.full_like(gradient, slope)

    calls = []

    def objective(model, inputs, targets):
        calls.append(1)
        loss = next_token_objective(model, inputs, targets)
        return loss.plus(0 * Steep.apply(model.norm.weight[:2]).sum()) if len(calls) == 3 else loss

    model, two_steps, checkpoints = fresh(), fresh(), Checkpoints(tmp_path, every=1, keep=1)
    settings = TrainSettings(5)
    message = f"the gradient of norm.weight is {word} in 2 of 16 places at step 3"
    with pytest.raises(FloatingPointError, match=message):
        train(model, counting_up(), settings, objective, checkpoints=checkpoints)
    with contextlib.suppress(KeyboardInterrupt):
        train(two_steps, counting_up(), settings, on_step=interrupt_at(2))
    assert checkpoints.steps() == [2] and bits(model) == bits(two_steps)
    back = fresh()
    checkpoints.restore(back, build_optimizers(back), settings)
    assert bits(back) == bits(two_steps)


def interrupt_at(last):
    def interrupt(step, model):
        if step == last:
            raise KeyboardInterrupt

    return interrupt


def test_a_gradient_too_long_for_its_numbers_is_told_apart():
    model = fresh()
    with pytest.raises(
        FloatingPointError,
        match="length of the gradient is infinite, though each of its numbers is",
    ):
        train(model, counting_up(), TrainSettings(1), lambda m, x, y: m.norm.weight.sum() * 1e25)


@pytest.mark.parametrize("accumulate", [2, 3, 7])
def test_the_bias_of_a_router_counts_all_parts_of_a_batch(accumulate):
    biases = []
    for n_parts in (1, accumulate):
        model = model_of_everything()
        settings = TrainSettings(2, muon_lr=0.0, adam_lr=0.0, accumulate=n_parts)
        train(
            model,
            batches,
            settings,
            deepseek_objective(ahead=0.3),
            on_step=balance_by_bias(lambda step: step / 100),
        )
        biases.append([layer.router.bias.tolist() for layer in moe_layers(model)])
    assert biases[0] == biases[1] and any(number for bias in biases[0] for number in bias)


def test_callbacks_are_told_of_every_moment_in_order():
    told = []

    class Spy(Callback):
        def before_training(self, model, history):
            told.append(("before", len(history.loss)))

        def before_step(self, step, model):
            told.append(("step", step))

        def after_part(self, model):
            told.append("part")

        def after_step(self, step, model, history):
            told.append(("after", step, len(history.loss)))

    history = train(
        fresh(),
        counting_up(),
        TrainSettings(2, accumulate=2),
        callbacks=[Spy()],
        evaluate_at=[0, 2],
        evaluate=lambda model: told.append("evaluate") or 1.0,
        on_step=lambda step, model: told.append("on step"),
    )
    first, second = (
        [("step", step), "part", "part", ("after", step, step), "on step"] for step in (1, 2)
    )
    assert told == [("before", 0), "evaluate", *first, *second, "evaluate"]
    assert history.validation == [(0, 1.0), (2, 1.0)]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "3", True, None, 2.5])
@pytest.mark.parametrize("name", [field.name for field in fields(TrainSettings)])
def test_settings_that_are_no_numbers_are_refused_by_name(name, wrong):
    fits = {"seconds": (None, 2.5), "optimizer": (), "schedule": (), "precision": ()}
    if wrong in fits.get(
        name, (2.5,) if name in ("muon_lr", "adam_lr", "clip", "weight_decay") else ()
    ):
        return
    with pytest.raises((ValueError, TypeError), match=name):
        TrainSettings(**{"steps": 3} | {name: wrong})


def test_an_objective_may_ask_for_more_than_the_next_token():
    def with_small_table(model, inputs, targets):
        return next_token_objective(model, inputs, targets).plus(
            model.token_embedding.weight.square().sum()
        )

    plain, small = fresh(), fresh()
    train(plain, counting_up(), TrainSettings(steps=60))
    train(small, counting_up(), TrainSettings(steps=60), with_small_table)
    assert small.token_embedding.weight.norm() < 0.7 * plain.token_embedding.weight.norm()


def test_a_loss_of_logits_is_an_objective_too():
    ways = ({}, {"loss_of": next_token_loss}, {"objective": next_token_objective})
    runs = [train(fresh(), counting_up(), TrainSettings(steps=5), **way).loss for way in ways]
    assert runs[0] == runs[1] == runs[2]


def test_bfloat16_multiplies_in_16_bits_and_keeps_parameters_in_32():
    seen = []

    def spy(model, inputs, targets):
        logits = model(inputs)
        seen.append(logits.dtype)
        return next_token_loss(logits, targets)

    runs = {}
    for precision in ("float32", "bfloat16"):
        model = fresh()
        runs[precision] = train(
            model, counting_up(), TrainSettings(steps=80, precision=precision), spy
        ).loss
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert seen == [torch.float32] * 80 + [torch.bfloat16] * 80
    assert runs["float32"] != runs["bfloat16"] and runs["bfloat16"][-1] == pytest.approx(
        runs["float32"][-1], abs=0.1
    )


def test_a_history_survives_its_file(tmp_path):
    history = train(
        fresh(), counting_up(), TrainSettings(3), evaluate=lambda model: 1 / 3, evaluate_at=[2]
    )
    history.save(tmp_path / "history.json")
    assert TrainHistory.load(tmp_path / "history.json") == history
    (tmp_path / "history.json").write_text(
        (tmp_path / "history.json").read_text().replace("finished", "time")
    )
    with pytest.raises(ValueError, match="history.json is damaged"):
        TrainHistory.load(tmp_path / "history.json")


def test_settings_become_json():
    def my_schedule(progress):
        return progress

    data = json.loads(json.dumps(TrainSettings(steps=7, schedule=my_schedule).as_data()))
    assert data["steps"] == 7 and data["schedule"] == "my_schedule"
    assert TrainSettings(**TrainSettings(steps=7, schedule="cosine").as_data()) == TrainSettings(
        7, schedule="cosine"
    )


def test_evaluating_changes_nothing_not_even_the_bias_of_a_router():
    """The bias is moved by the routing of the training batch; an evaluation in between would leave
    another one."""
    runs = []
    for moments in ((), range(9)):
        model = model_of_everything()
        other = torch.arange(8)[None] % 3
        train(
            model,
            batches,
            TrainSettings(8),
            deepseek_objective(ahead=0.3),
            evaluate_at=moments,
            evaluate=lambda model, ids=other: model(ids).sum().item(),
            on_step=balance_by_bias(lambda step: 0.1),
        )
        runs.append(bits(model))
    assert runs[0] == runs[1]


def test_moments_without_a_function_to_evaluate_are_refused():
    with pytest.raises(ValueError, match=r"evaluate_at \[2\] needs a function"):
        train(fresh(), counting_up(), TrainSettings(steps=3), evaluate_at=[2])
