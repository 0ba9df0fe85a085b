"""The pipeline on one's own lines: the solutions in their place learn what the library learns, and
a part that is wrong, crashes, or never ends is named and handed back."""

import re
import time
from types import SimpleNamespace

import pytest
import torch

from course_lib.experiments.run import ExperimentRun
from course_lib.lab import mine, own_answers, parts, plugs
from course_lib.lab.checks.core import solution_of
from course_lib.layers import attention, norm
from course_lib.layers.norm import RMSNorm
from course_lib.models import llama
from course_lib.tasks import arithmetic, at_k
from course_lib.training import settings as train_settings
from tests.lab.small_pipeline import largest_difference, learn_everything, same_bits

# The others do the same in another order, or without a fused kernel, and differ by rounding.
SAME_BITS = (
    "bpe.count_pairs", "bpe.merge", "bpe.encode_piece", "inference.left_pad", "embedding.one_hot",
    "embedding.embedding_backward", "embedding.rotary", "mlp.swiglu", "attention.split_heads",
    "transformer.transformer_block", "transformer.init_weights", "balance_and_prediction.gates",
    "mixture_of_experts.balance_loss", "balance_and_prediction.moved_bias",
    "supervised_fine_tuning.answer_targets", "supervised_fine_tuning.answer_loss",
    "supervised_fine_tuning.keep_answers", "human_feedback.bradley_terry",
    "grpo.advantages_of_groups", "grpo.clipped_objective", "grpo.group_loss",
    "r1_zero.rule_accuracy", "r1_zero.rule_format", "r1_zero.pass_at_k",
)  # fmt: skip
# Newton and Schulz's rounds blow rounding up in directions in which there is next to no gradient.
LARGEST = 0.3


def answer(key, function=None):
    return own_answers.OwnAnswer(key, function or solution_of(*key.split(".")), "", 1)


def solutions(*keys):
    return {key: answer(key) for key in keys}


@pytest.fixture(scope="module")
def learnt():
    """What the library learns."""
    return learn_everything()


def test_solutions_of_the_same_arithmetic_learn_the_same_to_the_last_bit(learnt):
    with mine.put_in(solutions(*SAME_BITS)) as plugged:
        own = learn_everything()
    assert same_bits(learnt, own)
    assert not plugged.handed_back and all(plugged.parts[key].calls for key in SAME_BITS)


def test_all_solutions_together_are_at_work_and_learn_the_same_within_rounding(learnt):
    assert len(plugs.EXERCISES) >= 20
    with mine.put_in(solutions(*plugs.EXERCISES)) as plugged:
        own = learn_everything()
    assert [key for key, part in plugged.parts.items() if not part.calls] == []
    assert not plugged.handed_back
    assert not same_bits(learnt, own) and largest_difference(learnt, own) < LARGEST
    assert all(times.own and times.library for times in plugged.times.values())


def test_without_newton_schulz_rounding_stays_small(learnt):
    others = [key for key in plugs.EXERCISES if key != "pretraining.newton_schulz"]
    with mine.put_in(solutions(*others)):
        assert largest_difference(learnt, learn_everything()) < 0.01


def test_the_library_is_as_it_was_behind_the_block():
    owners = [parts.find_owner(plug.target) for plug in plugs.PLUGS]
    before = [vars(owner).get(name) for owner, name in owners]
    assert train_settings.SCHEDULES["wsd"] is before[21]
    with pytest.raises(KeyError), mine.put_in(solutions(*plugs.EXERCISES)):
        assert llama.init_llama_weights is not before[13] and "forward" in vars(norm.RMSNorm)
        assert arithmetic.pass_at_k is at_k.pass_at_k
        assert train_settings.SCHEDULES["wsd"] is not before[21]
        raise KeyError
    assert before == [vars(owner).get(name) for owner, name in owners]
    assert train_settings.SCHEDULES["wsd"] is before[21] and "forward" not in vars(norm.RMSNorm)
    assert arithmetic.pass_at_k is at_k.pass_at_k


def test_two_blocks_at_once_are_refused():
    with mine.put_in({}), pytest.raises(ValueError, match="plugged in already"):
        with mine.put_in({}):
            pass


# ------------------------------------------------------------------------------ what is handed back


def normed_by(function, n_calls=1, key="layer_norm.rms_norm"):
    """Norm some vectors, through a plugged function: results, the part, and what was told."""
    told, x = [], torch.linspace(-1, 2, 12).view(3, 4).requires_grad_()
    with mine.put_in({key: answer(key, function)}, lambda *news: told.append(news)) as plugged:
        results = [RMSNorm(4)(x) for _ in range(n_calls)]
    return results, plugged.parts[key], told


def right(x, weight, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


WANTED = right(torch.linspace(-1, 2, 12).view(3, 4), torch.ones(4), 1e-6)


def by_the_sum(x, weight, eps):
    return x / (x.square().sum(-1, keepdim=True) + eps).sqrt() * weight


def transposed(x, weight, eps):
    return right(x, weight, eps).T


def in_doubles(x, weight, eps):
    return right(x.double(), weight, eps)


def as_list(x, weight, eps):
    return right(x, weight, eps).tolist()


def without_gradient(x, weight, eps):
    return right(x.detach(), weight.detach(), eps)


def nothing(x, weight, eps):
    right(x, weight, eps)


def not_a_number(x, weight, eps):
    return right(x, weight, eps) * torch.nan


def crashing(x, weight, eps):
    raise ZeroDivisionError("by a norm of 0")


def calling_itself(x, weight, eps):
    return RMSNorm(4)(x)


@pytest.mark.parametrize(
    "function, reason",
    [
        (by_the_sum, "its numbers were off by 0.5 of all"),
        (transposed, r"its result had the shape \(4, 3\), not \(3, 4\)"),
        (in_doubles, "its result had the dtype torch.float64, not torch.float32"),
        (as_list, "its result was a list, not a tensor"),
        (without_gradient, "no gradient flowed through its result"),
        (nothing, "its result was a NoneType, not a tensor"),
        (not_a_number, "12 of its 12 numbers were NaN or infinite"),
        (crashing, "stopped with ZeroDivisionError: by a norm of 0"),
        (calling_itself, "calls the function of the library that it stands in for"),
    ],
)
def test_a_part_that_fails_is_named_and_handed_back_before_it_does_harm(function, reason, capsys):
    results, part, told = normed_by(function, n_calls=3)
    for result in results:
        torch.testing.assert_close(result, WANTED)
        assert result.requires_grad
    assert part.calls == 1 and not part.active
    ((key, why),) = told
    assert key == "layer_norm.rms_norm" and re.search(reason, why)
    assert f"layer_norm.rms_norm is handed back to the library: {why}." in capsys.readouterr().out


def test_a_part_inside_of_another_one_is_compared_before_anything_leans_on_it():
    keys = {"layer_norm.rms_norm": nothing, "transformer.transformer_block": None}
    with mine.put_in({key: answer(key, function) for key, function in keys.items()}) as plugged:
        block = llama.LlamaBlock(4, attention.SelfAttention(4, 2), torch.nn.Linear(4, 4), 1e-6)
        for _ in range(3):
            block(torch.ones(1, 2, 4))
    assert list(plugged.handed_back) == ["layer_norm.rms_norm"]
    assert plugged.parts["transformer.transformer_block"].calls == 3


def test_a_right_part_written_otherwise_stays():
    results, part, told = normed_by(right, n_calls=5)
    torch.testing.assert_close(results[-1], WANTED)
    assert part.calls == 5 and part.active and not told and len(part.compared) == 3


def test_an_endless_call_is_ended_at_its_time_limit(monkeypatch):
    monkeypatch.setattr(parts, "CALL_SECONDS", 0.3)

    def endless(x, weight, eps):
        while True:
            try:
                x + 1
            except Exception:
                pass

    began = time.process_time()
    results, part, told = normed_by(endless, n_calls=2)
    torch.testing.assert_close(results[0], WANTED)
    assert part.calls == 1 and "still computing after its time limit" in part.reason
    assert time.process_time() - began < 10


def test_many_slow_calls_are_handed_back_when_they_have_cost_too_much(monkeypatch):
    monkeypatch.setattr(parts, "EXTRA_SECONDS", 0.2)

    def slow(x, weight, eps):
        for _ in range(3000):
            x.detach().square().sum()
        return right(x, weight, eps)

    results, part, told = normed_by(slow, n_calls=60)
    assert 1 < part.calls < 60 and "s too long" in part.reason
    torch.testing.assert_close(results[-1], WANTED)


def test_an_error_that_the_library_raises_as_well_is_not_hers():
    with mine.put_in(solutions("attention.split_heads")) as plugged:
        layer = attention.SelfAttention(6, 2)
        for _ in range(2):
            layer.project(torch.ones(1, 2, 6))
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            layer.project(torch.ones(1, 2, 5))
    assert plugged.parts["attention.split_heads"].active


def test_rows_are_taken_one_by_one_where_vmap_can_not_follow():
    def by_item(q, k):
        table = torch.zeros(len(q), len(k))
        for t in range(len(q)):
            table[t] = q[t] @ k.T / q.shape[1] ** 0.5
        return table if table[0, 0].item() < 100 else table

    q, k = torch.randn(3, 2, 4), torch.randn(3, 5, 4)
    wanted = q @ k.mT / 2
    torch.testing.assert_close(parts.over_rows(by_item, 0, 0)(q, k), wanted)


# ---------------------------------------------------------------------------------- in the pipeline


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A learner who has solved three exercises."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    for key in ("layer_norm.rms_norm", "mlp.swiglu", "grpo.group_loss"):
        own_answers.keep_answer(key, solution_of(*key.split(".")))
    return own_answers.answers_folder()


def own_run(tmp_path, without=()):
    run = ExperimentRun(tmp_path / "seed-0")
    run.folder.mkdir(exist_ok=True)
    mine.prepare_own_run(run, mine.answers_to_run_on(run, without), without)
    return run


def report(run):
    mine.write_own_report(run)
    return {row["exercise"]: row for row in run.once("mine/report", dict)}


def norm_once(run):
    RMSNorm(4)(torch.ones(3, 4))


def test_a_run_counts_whose_lines_it_was_made_of(tmp_path, record):
    run = own_run(tmp_path)
    for _ in range(2):
        mine.perform_on_own_lines(run, "evaluation/base", norm_once)
    rows = report(run)
    assert set(rows) == set(plugs.EXERCISES)
    normed = rows["layer_norm.rms_norm"]
    assert (normed["calls"], normed["lines"], normed["lesson"]) == (2, 2, "05")
    assert rows["mlp.swiglu"]["calls"] == 0 and rows["bpe.merge"]["lines"] == 0


def test_a_run_goes_on_with_the_lines_that_it_began_with(tmp_path, record):
    run = own_run(tmp_path)
    own_answers.keep_answer("layer_norm.rms_norm", by_the_sum)
    (record / "mlp.swiglu.py").unlink()
    run = own_run(tmp_path)
    mine.perform_on_own_lines(run, "base", norm_once)
    rows = report(run)
    assert rows["layer_norm.rms_norm"]["calls"] == 1 and rows["mlp.swiglu"]["lines"] == 2
    assert not rows["layer_norm.rms_norm"]["handed back"]


def test_any_part_can_be_left_to_the_library(tmp_path, record):
    run = own_run(tmp_path, ["rms_norm"])
    own_run(tmp_path, ["grpo.group_loss", "rms_norm"])
    mine.perform_on_own_lines(run, "base", norm_once)
    rows = report(run)
    assert rows["layer_norm.rms_norm"]["calls"] == 0
    assert rows["layer_norm.rms_norm"]["handed back"] == "by your own wish"
    assert rows["grpo.group_loss"]["handed back"] and not rows["mlp.swiglu"]["handed back"]
    with pytest.raises(ValueError, match="'norm' is no exercise"):
        mine.answers_to_run_on(run, ["norm"])


def test_an_answer_that_no_longer_passes_does_not_run(tmp_path, record):
    own_answers.keep_answer("layer_norm.rms_norm", by_the_sum)
    run = own_run(tmp_path)
    assert report(run)["layer_norm.rms_norm"]["lines"] == 0


def test_a_learner_who_has_solved_nothing_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "none" / "progress.json"))
    with pytest.raises(ValueError, match="no exercise of yours is kept"):
        mine.answers_to_run_on(ExperimentRun(tmp_path))


CALLS = []


def rarely_broken(x, weight, eps):
    """Right but for its third call, which nobody compares."""
    CALLS.append(1)
    return right(x, weight, eps) * (torch.nan if len(CALLS) % 4 == 3 else 1.0)


def test_a_task_that_failed_goes_on_with_every_call_compared(tmp_path, capsys):
    CALLS.clear()
    run, key = ExperimentRun(tmp_path), "layer_norm.rms_norm"
    (tmp_path / "mine").mkdir()
    kept = SimpleNamespace(function=rarely_broken, n_lines=2)
    tries = []

    def task(run):
        tries.append([RMSNorm(4)(torch.ones(3, 4)).sum().item() for _ in range(4)])
        if any(total != total for total in tries[-1]):
            raise FloatingPointError("the loss is NaN")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mine, "read_answers", lambda folder: ({key: kept}, {}))
        mine.perform_on_own_lines(run, "zero", task)
    assert len(tries) == 2 and tries[1] == pytest.approx([12.0] * 4)
    assert "numbers were NaN" in mine.read_handed_back(tmp_path / "mine")[key]
    assert "(in zero)" in mine.read_handed_back(tmp_path / "mine")[key]
    assert "once more, with every call of yours compared" in capsys.readouterr().out


def test_a_task_that_fails_by_itself_fails(tmp_path, record):
    def task(run):
        raise FloatingPointError("the loss is NaN")

    run = own_run(tmp_path)
    with pytest.raises(FloatingPointError):
        mine.perform_on_own_lines(run, "zero", task)
    assert mine.read_handed_back(run.folder / "mine") == {}


# -------------------------------------------------------------------- the notebook and the command


def test_a_notebook_plugs_in_what_has_passed(record, capsys):
    with mine.plugged_in(without=["swiglu"]) as plugged:
        norm_once(None)
    assert plugged.parts["layer_norm.rms_norm"].calls == 1
    assert not plugged.parts["mlp.swiglu"].active
    assert "1 parts of yours were at work here, 2 lines in all." in capsys.readouterr().out
    with mine.plugged_in(on=False) as plugged:
        norm_once(None)
    assert plugged.parts == {} and capsys.readouterr().out == ""


def test_the_command_lists_whose_lines_there_are(record, capsys):
    own_answers.keep_answer("mlp.swiglu", by_the_sum)
    (record / "bpe.merge.py").write_text("damaged")
    mine.main([])
    lines = {
        line.split(" | ")[1]: line for line in capsys.readouterr().out.splitlines() if " | " in line
    }
    assert len(lines) == len(plugs.EXERCISES) + 1
    assert "| 05 | rms_norm | yours | 2 | forward |" in lines["rms_norm"]
    assert "not solved" in lines["rotary"]
    assert "yours, and fails its check now: by_the_sum(x, weight, eps) does not" in lines["swiglu"]
    assert "can't be read" in lines["merge"]
