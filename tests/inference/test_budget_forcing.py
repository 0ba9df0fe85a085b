"""Budget forcing: without it the model's own samples, with it the first ends are replaced."""

import pytest
import torch

from course_lib.inference.budget_forcing import ForcedThought, sample_forced
from course_lib.models.llama import Llama, LlamaSettings

END, STOP = 9, 0


def model() -> Llama:
    torch.manual_seed(0)
    return Llama(LlamaSettings(12, 40, d_model=16, n_layers=1, n_heads=2))


def sample(times, instead=(5, 6), n=40, longest=20, **options):
    generator = torch.Generator().manual_seed(1)
    prompts = [[1, 2, 3][: 1 + i % 3] for i in range(n)]
    return sample_forced(
        model(),
        prompts,
        longest,
        END,
        instead,
        times,
        stop_token=STOP,
        generator=generator,
        **options,
    )


def test_no_end_before_the_times_are_up():
    for written in sample(2):
        assert STOP not in written[:-1] and len(written) <= 20
        forced = [i for i in range(len(written) - 1) if written[i : i + 2] == [5, 6]]
        ends = [i for i, token in enumerate(written) if token == END]
        assert not ends or len(forced) >= 2, "an end stood before two were replaced"
    assert any(END in written for written in sample(2))


def test_never_forced_is_the_models_own_distribution():
    with torch.no_grad():
        probs = model()(torch.tensor([[1, 2]]))[0, -1].softmax(-1)
    got = sample_forced(
        model(), [[1, 2]] * 4000, 1, END, [5], 0, stop_token=STOP,
        generator=torch.Generator().manual_seed(2),
    )  # fmt: skip
    shares = torch.bincount(torch.tensor(got)[:, 0], minlength=12) / 4000
    assert (shares - probs).abs().max() < 0.03


def test_what_is_put_in_is_read_by_the_model():
    """Each token is likely after the whole text before it, what was put in included."""
    sure = model()
    sure.head.weight.data *= 50 if sure.head is not None else 1  # nearly greedy
    written = sample_forced(
        sure, [[1, 2]], 12, END, [5, 6], 1, stop_token=STOP,
        generator=torch.Generator().manual_seed(3),
    )[0]  # fmt: skip
    ids = torch.tensor([[1, 2, *written]])
    with torch.no_grad():
        probs = sure(ids)[0, 1:-1].softmax(-1)
    own = [p for token, p in zip(written, probs[range(len(written)), written], strict=True)
           if token not in (5, 6)]  # fmt: skip
    assert min(own) > 1e-6


def test_a_thought_that_ends_well_may_end():
    free = sample(3, ends_well=lambda written: True)
    assert free == sample(0)


def test_a_thought_goes_on_from_what_was_put_in():
    thought = ForcedThought(END, [5, 6, 7], times=2)
    assert [thought.write(t) for t in (END, END, 1, 2, END, 3, 3, END)] == [
        5,
        6,
        7,
        2,
        5,
        6,
        7,
        END,
    ]


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="times -1"):
        sample(-1)
    with pytest.raises(ValueError, match="0 tokens to put in"):
        sample(1, instead=())
