"""Batches of completions: = row by row, = the model's own chances, whatever is padded, repeated or
dropped."""

import itertools
import math
from bisect import bisect_right
from collections import Counter
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.inference import rollout
from course_lib.inference.generate import generate
from course_lib.inference.rollout import (
    completion_log_probs,
    draw_by_points,
    sample_completions,
    token_entropies,
    token_log_probs,
)
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.deepseek_v4 import DeepSeekV4, DeepSeekV4Settings
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings

PROMPTS = [[3, 1, 4, 1, 5], [2], [7, 1], [8, 2, 8, 1]]
NEW = 9


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GPT2(GPT2Settings(vocab_size=11, max_seq_len=14, d_model=12, n_layers=2, n_heads=3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # opinions, so that a wrong context shows
    return model


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def alone(model, prompt, completion, temperature=1.0):
    """The log-chances of a completion by one full pass over one unpadded text."""
    logits = model(torch.tensor([prompt + completion]))[0, len(prompt) - 1 : -1]
    return (
        (logits / temperature).log_softmax(-1).gather(-1, torch.tensor(completion)[:, None])[:, 0]
    )


@pytest.mark.parametrize("stop_token", [None, 1, 2, 10])
def test_greedy_completions_are_those_of_generate_row_by_row(model, stop_token):
    got = sample_completions(
        model, PROMPTS, NEW, n_samples=2, temperature=0.0, stop_token=stop_token
    )
    want = []
    for prompt in PROMPTS:
        text = generate(model, torch.tensor([prompt]), NEW, temperature=0.0)[
            0, len(prompt) :
        ].tolist()
        end = text.index(stop_token) + 1 if stop_token in text else NEW
        want += [text[:end]] * 2
    assert got.completions == want
    assert got.prompts == [prompt for prompt in PROMPTS for _ in range(2)]
    assert got.lengths.tolist() == [len(text) for text in want]
    assert got.finished.tolist() == [stop_token in text for text in want]
    assert stop_token is None or len(set(got.lengths.tolist())) > 1


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.7}, {"temperature": 0.0}, {"temperature": 1.4, "top_k": 4}]
)
@pytest.mark.parametrize("stop_token", [None, 2])
def test_log_probs_are_those_of_a_full_pass_over_each_text_alone(model, options, stop_token):
    got = sample_completions(
        model, PROMPTS, NEW, n_samples=5, stop_token=stop_token, generator=seeded(), **options
    )
    again = completion_log_probs(model, got, options.get("temperature", 1.0))
    for row, (prompt, completion) in enumerate(zip(got.prompts, got.completions, strict=True)):
        want = alone(model, prompt, completion, options.get("temperature") or 1.0)
        for log_probs in (got.log_probs, again):
            torch.testing.assert_close(log_probs[row, : len(want)], want, atol=1e-5, rtol=1e-5)
            assert (log_probs[row, len(want) :] == 0).all()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Llama, LlamaSettings(11, 14, d_model=12, n_layers=2, n_heads=3, n_kv_heads=1)),
        (
            DeepSeekV3,
            DeepSeekSettings(
                11, 14, d_model=12, n_layers=2, n_heads=3, kv_lora_rank=5, qk_rope_head_dim=4
            ),
        ),
    ],
)
def test_other_models_too(kind, settings):
    torch.manual_seed(0)
    model = kind(settings)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    got = sample_completions(model, PROMPTS, NEW, n_samples=3, stop_token=2, generator=seeded())
    for row, (prompt, completion) in enumerate(zip(got.prompts, got.completions, strict=True)):
        want = alone(model, prompt, completion)
        torch.testing.assert_close(got.log_probs[row, : len(want)], want, atol=1e-5, rtol=1e-5)
    greedy = sample_completions(model, PROMPTS, NEW, temperature=0.0).completions
    assert greedy == [
        generate(model, torch.tensor([p]), NEW, temperature=0.0)[0, len(p) :].tolist()
        for p in PROMPTS
    ]


@pytest.mark.parametrize("stop_token", [None, 3])
def test_v4_writes_with_its_own_caches_behind_prompts_of_equal_length(stop_token):
    torch.manual_seed(0)
    sizes = {"d_model": 16, "n_heads": 2, "head_dim": 8, "d_expert": 8, "index_top_k": 2}
    v4 = DeepSeekV4(DeepSeekV4Settings(11, 40, **sizes, window=8, hca_rate=8)).double()
    for parameter in v4.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    prompts, n = [[3, 1, 4, 1, 5], [2, 7, 1, 8, 2]], 30
    got = sample_completions(v4, prompts, n, n_samples=2, temperature=0.0, stop_token=stop_token)
    for i, text in enumerate(got.completions):
        whole = generate(v4, torch.tensor([prompts[i // 2]]), n, temperature=0.0, use_cache=False)
        want = whole[0, 5:].tolist()
        assert text == want[: want.index(3) + 1 if stop_token in want else n]
        torch.testing.assert_close(
            got.log_probs[i, : len(text)], alone(v4, prompts[i // 2], text).detach()
        )
    assert stop_token is None or len(set(got.lengths.tolist())) > 1
    with pytest.raises(ValueError, match="1 padded rows and a cache.*rows of equal length"):
        sample_completions(v4, PROMPTS[:2], 3)


def test_the_gradient_too_is_that_of_each_text_alone(model):
    got = sample_completions(model, PROMPTS, NEW, n_samples=2, stop_token=2, generator=seeded())
    parameters = list(model.parameters())
    batched = torch.autograd.grad(completion_log_probs(model, got).sum(), parameters)
    texts = zip(got.prompts, got.completions, strict=True)
    single = torch.autograd.grad(sum(alone(model, *text).sum() for text in texts), parameters)
    for ours, theirs in zip(batched, single, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert not got.log_probs.requires_grad


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize(
    "prompts",
    [PROMPTS, [[7, 1, 2], [7, 1, 3]], [[0], [3]], [[4, 4]]],
    ids=["of many lengths", "of one length", "of one token", "one"],
)
@pytest.mark.parametrize("n_tokens", [1, NEW])
def test_shared_prompts_change_neither_chances_nor_gradients(kind, prompts, n_tokens, monkeypatch):
    model = kinds_of_model()[kind]
    got = sample_completions(
        model, prompts, n_tokens, n_samples=3, stop_token=2, generator=seeded(1)
    )
    read = []
    hidden = type(model).hidden
    monkeypatch.setattr(
        type(model),
        "hidden",
        lambda self, ids, *args: read.append(ids.numel()) or hidden(self, ids, *args),
    )
    shared = completion_log_probs(model, got.rows(torch.arange(len(got.ids)).flip(0))).flip(0)
    longest = max(map(len, prompts))
    columns = got.completion_mask.shape[1] - 1
    assert read == [len(prompts) * longest] + [len(got.ids) * columns] * (columns > 0)
    parameters = list(model.parameters())
    weights = torch.randn(shared.shape, generator=seeded(2))  # each token matters by its own
    ours = torch.autograd.grad((shared * weights).sum(), parameters, allow_unused=True)
    monkeypatch.undo()
    texts = list(zip(got.prompts, got.completions, strict=True))
    single = [alone(model, *text) for text in texts]
    for row, want in enumerate(single):
        torch.testing.assert_close(shared[row, : len(want)], want)
        assert (shared[row, len(want) :] == 0).all()
    total = sum((weights[row, : len(want)] * want).sum() for row, want in enumerate(single))
    for one, other in zip(
        ours, torch.autograd.grad(total, parameters, allow_unused=True), strict=True
    ):
        torch.testing.assert_close(one, other)


def kinds_of_model():
    """One of each, in float64, with opinions."""
    torch.manual_seed(0)
    models = [
        GPT2(GPT2Settings(11, 14, d_model=12, n_layers=2, n_heads=3)),
        Llama(LlamaSettings(11, 14, d_model=12, n_layers=2, n_heads=3, n_kv_heads=1)),
        DeepSeekV3(
            DeepSeekSettings(
                11, 14, d_model=12, n_layers=2, n_heads=3, kv_lora_rank=5, qk_rope_head_dim=4
            )
        ),
    ]
    for model in models:
        for parameter in model.double().parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return models


def test_the_table_is_ready_for_training(model):
    got = sample_completions(model, PROMPTS, NEW, n_samples=3, stop_token=2, generator=seeded())
    assert got.ids.shape == got.padding.shape == (12, 5 + got.lengths.max())
    assert torch.equal(got.completion_mask, ~got.padding[:, 5:])
    assert (got.ids[got.padding] == 0).all() and got.padding[:, :5].sum() == 3 * (4 + 3 + 1)
    assert torch.equal(got.finished, (got.ids[:, 5:] == 2).any(-1)) and 0 < got.finished.sum() < 12


@pytest.mark.parametrize("chosen", [[1, 0], [4, 3], [10, 5, 8, 5], [9], list(range(12))])
def test_some_rows_keep_their_texts_and_lose_the_columns_that_are_padding_in_all(model, chosen):
    whole = sample_completions(model, PROMPTS, NEW, n_samples=3, stop_token=2, generator=seeded(4))
    assert (~whole.finished).nonzero()[:, 0].tolist() == [6, 9, 10]
    part = whole.rows(torch.tensor(chosen))
    for name in ("prompts", "completions"):
        assert getattr(part, name) == [getattr(whole, name)[row] for row in chosen]
    longest = [max(map(len, texts)) for texts in (part.prompts, part.completions)]
    assert part.ids.shape == part.padding.shape == (len(chosen), sum(longest))
    assert part.completion_mask.shape == part.log_probs.shape == (len(chosen), longest[1])
    assert part.finished.tolist() == [whole.finished[row].item() for row in chosen]
    for row, old in enumerate(chosen):
        n = len(whole.completions[old])
        assert part.log_probs[row, :n].tolist() == whole.log_probs[old, :n].tolist()
    again = completion_log_probs(model, part)  # the chances too are those that the texts had
    torch.testing.assert_close(again, part.log_probs, atol=1e-5, rtol=1e-5)
    assert len(chosen) == 12 or part.ids.shape[1] < whole.ids.shape[1]


def chi_square(counts, chances, n):
    assert set(counts) <= {text for text, chance in chances.items() if chance > 0}, (
        "a text of chance 0 was drawn"
    )
    likely = {text: chance * n for text, chance in chances.items() if chance * n >= 5}
    rest = n - sum(likely.values())
    cells = [(counts[text], want) for text, want in likely.items()]
    cells.append((n - sum(seen for seen, _ in cells), rest))
    return sum((seen - want) ** 2 / want for seen, want in cells if want > 1), len(cells) - 1


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.6}, {"top_k": 3}, {"top_p": 0.7}, {"min_p": 0.2}]
)
def test_completions_follow_the_chances_of_whole_texts(options):
    """Every text of two tokens (one where it stops) with its exact chance, from one prompt that was
    padded."""
    torch.manual_seed(1)
    model = GPT2(GPT2Settings(vocab_size=5, max_seq_len=6, d_model=8, n_layers=1, n_heads=2))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    n = 6000
    got = sample_completions(
        model, [[1, 2, 3], [4]], 2, n_samples=n, stop_token=0, generator=seeded(5), **options
    )
    chances = {}
    for text in [(0,), *itertools.product(range(1, 5), range(5))]:
        steps = [
            rollout.next_token_probs(model(torch.tensor([[4, *text[:t]]]))[0, -1], **options)
            for t in (0, 1)
        ]
        chances[text] = math.prod(
            step[token].item() for step, token in zip(steps, text, strict=False)
        )
    assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
    seen, freedom = chi_square(Counter(map(tuple, got.completions[n:])), chances, n)
    # exceeded by chance less than once in a thousand
    assert seen < freedom + 3.5 * (2 * freedom) ** 0.5 + 4


@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"top_p": 0.8}])
def test_dropping_rows_changes_nothing(model, monkeypatch, options):
    runs = []
    for crowd in (0.0, 0.75, 1.1):  # never, sometimes, at once
        monkeypatch.setattr(rollout, "MIN_WRITING_SHARE", crowd)
        wish = {"n_samples": 4, "stop_token": 2, "generator": seeded(3)} | options
        runs.append(sample_completions(model, PROMPTS, NEW, **wish))
    for other in runs[1:]:
        assert torch.equal(other.ids, runs[0].ids) and torch.equal(other.padding, runs[0].padding)
        torch.testing.assert_close(other.log_probs, runs[0].log_probs)


def test_prompts_are_read_once_and_rows_that_are_done_no_more(model, monkeypatch):
    read, hidden = [], GPT2.hidden

    def counting(self, ids, caches=None, padding=None):
        read.append(tuple(ids.shape))
        return hidden(self, ids, caches, padding)

    monkeypatch.setattr(GPT2, "hidden", counting)
    got = sample_completions(model, PROMPTS, NEW, n_samples=8, stop_token=2, generator=seeded(1))
    assert read[:2] in ([(4, 5), (32, 1)], [(4, 5), (read[1][0], 1)])
    assert all(length == 1 for _, length in read[1:]) and len(read) <= NEW
    for step, (rows, _) in enumerate(read[1:], start=1):
        writing = (got.lengths > step).sum().item()
        assert writing <= rows <= max(writing / 0.75, writing + 1)


def test_all_done_ends_the_writing(model, monkeypatch):
    stop = sample_completions(model, [[3]], 1, temperature=0.0).completions[0][0]
    read, hidden = [], GPT2.hidden

    def counting(self, ids, caches=None, padding=None):
        read.append((tuple(ids.shape), torch.is_grad_enabled()))
        return hidden(self, ids, caches, padding)

    monkeypatch.setattr(GPT2, "hidden", counting)
    got = sample_completions(model, [[3]], NEW, n_samples=2, temperature=0.0, stop_token=stop)
    assert got.completions == [[stop]] * 2 and read == [((1, 1), False)]


def test_equal_prompts_need_no_mask(model, monkeypatch):
    masks, hidden = [], GPT2.hidden

    def watching(self, ids, caches=None, padding=None):
        masks.append(padding)
        return hidden(self, ids, caches, padding)

    monkeypatch.setattr(GPT2, "hidden", watching)
    sample_completions(model, [[1, 2], [3, 4]], 3)
    assert masks == [None] * 3


def test_seeds(model):
    texts = [
        sample_completions(model, PROMPTS, NEW, generator=seeded(seed)).completions
        for seed in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]
    group = sample_completions(model, [[1]], NEW, n_samples=6, generator=seeded()).completions
    assert len({tuple(text) for text in group}) > 1


def test_a_context_may_be_filled_to_the_last_place(model):
    assert sample_completions(model, [[1] * 5, [2]], 9).ids.shape == (2, 14)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any), st.integers(0, 2**24 - 1))
def test_a_point_falls_on_the_stretch_that_exact_arithmetic_says(weights, numerator):
    ends = list(itertools.accumulate(weights))
    point = Fraction(numerator, 2**24) * ends[-1]
    got = draw_by_points(
        torch.tensor([weights], dtype=torch.float), torch.tensor([numerator / 2**24])
    ).item()
    assert weights[got] > 0
    assert got == bisect_right(ends, point) or min(abs(point - end) for end in ends) <= Fraction(
        ends[-1], 2**23
    )


def test_tokens_without_chance_are_never_drawn_wherever_they_stand():
    probs = torch.tensor([[0.0, 0.3, 0.0, 0.0, 0.7, 0.0]])
    ends = torch.tensor([0.0, 2**-24, 0.3 - 2**-25, 0.3, 0.3 + 2**-24, 1 - 2**-24])
    assert draw_by_points(probs.expand(6, 6), ends).tolist() == [1, 1, 1, 4, 4, 4]
    unscaled = torch.rand(2000, 40, generator=seeded()) * 3  # sums that rounding leaves anywhere
    unscaled[:, 30:] = 0
    assert draw_by_points(unscaled, torch.full((2000,), 1 - 2**-24)).max() == 29
    for broken in (math.nan, 0.0):
        with pytest.raises(ValueError, match="NaN or all 0"):
            draw_by_points(torch.tensor([[0.5, 0.5], [broken, broken]]), torch.tensor([0.1, 0.1]))


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ([], {}, "0 prompts, n_samples 1, max_new_tokens 3"),
        ([[1]], {"n_samples": 0}, "n_samples 0"),
        ([[1]], {"max_new_tokens": 0}, "max_new_tokens 0"),
        ([[1], []], {}, "prompt 1 has 0 tokens and is to get 3 more.*at most 14"),
        ([[1], [2] * 12], {}, "prompt 1 has 12 tokens and is to get 3 more.*at most 14"),
        ([[1], [2, 11]], {}, "token 11 is outside the vocabulary of 11"),
        ([[1]], {"stop_token": -1}, "token -1 is outside"),
        ([[1]], {"temperature": -0.5}, "temperature -0.5"),
        ([[1]], {"top_p": 2.0}, "top_p 2.0"),
        ([[1]], {"top_k": 0}, "top_k 0"),
        ([[1]], {"min_p": 1.0}, "min_p 1.0"),
    ],
)
def test_impossible_requests_name_their_numbers(model, prompts, options, message):
    options = {"max_new_tokens": 3} | options
    with pytest.raises(ValueError, match=message):
        sample_completions(model, prompts, **options)


# -------------------------------------------------------------- log-chances and entropies of tokens


def test_log_probs_and_entropies_are_those_of_torchs_distributions():
    logits = (
        torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    )
    ids = torch.randint(7, (3, 4), generator=torch.Generator().manual_seed(1))
    theirs = torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(token_log_probs(logits, ids), theirs.log_prob(ids))
    torch.testing.assert_close(token_entropies(logits), theirs.entropy())
    # only differences count
    torch.testing.assert_close(token_entropies(logits + 100), theirs.entropy())


def test_entropies_by_hand():
    logits = torch.tensor(
        [[[0.0, 0.0, 0.0], [0.0, 0.0, -math.inf], [0.0, -math.inf, -math.inf], [900.0, 0.0, 0.0]]]
    )
    got = token_entropies(logits.requires_grad_())
    torch.testing.assert_close(got, torch.tensor([[math.log(3), math.log(2), 0.0, 0.0]]))
    got.sum().backward()
    assert logits.grad.isfinite().all() and (logits.grad[0, 1:, 2] == 0).all()


def test_slopes_of_log_probs_and_entropies_by_finite_differences():
    logits = torch.randn(
        2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).requires_grad_()
    ids = torch.tensor([[0, 4, 2], [1, 1, 3]])
    assert torch.autograd.gradcheck(lambda logits: token_log_probs(logits, ids), logits)
    assert torch.autograd.gradcheck(token_entropies, logits)


def test_the_mean_surprise_of_samples_is_the_entropy():
    logits = torch.tensor([[[1.0, 0.0, -1.0, 0.5]]])
    chances = logits.softmax(-1)[0, 0]
    surprise = sum(-p * token_log_probs(logits, torch.tensor([[i]])) for i, p in enumerate(chances))
    torch.testing.assert_close(token_entropies(logits), surprise)
