"""Speculative decoding: the same distribution and the same greedy text as the model alone, in fewer
passes."""

import contextlib
import itertools
import math
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.inference.generate import generate, next_token_probs
from course_lib.inference.speculative import (
    CachedReader,
    ModelDraft,
    MTPDraft,
    acceptance_probability,
    count_accepted,
    expected_tokens_per_pass,
    residual_probs,
    speculative_generate,
    verify_draft,
)
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gpt2(seed, **sizes):
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": 11,
        "max_seq_len": 24,
        "d_model": 12,
        "n_layers": 2,
        "n_heads": 3,
    } | sizes
    model = GPT2(GPT2Settings(**sizes))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)  # opinions, so that a wrong context shows
    return model


def deepseek_v3(seed=0, **sizes):
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": 11,
        "max_seq_len": 24,
        "d_model": 12,
        "n_layers": 2,
        "n_heads": 2,
        "mtp": True,
    } | sizes
    model = DeepSeekV3(
        DeepSeekSettings(
            **sizes, kv_lora_rank=6, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=5
        )
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


class Bigrams(nn.Module):
    """A model whose next token depends on the last one alone: row by row the chances it is
    given."""

    blocks = ()

    def __init__(self, chances):
        super().__init__()
        self.chances = torch.tensor(chances)
        size = len(chances)
        self.settings = SimpleNamespace(vocab_size=size, max_seq_len=10**6, d_model=size)

    def hidden(self, ids, caches=None, padding=None):
        return nn.functional.one_hot(ids, self.settings.d_model).float()

    def logits(self, hidden):
        return (hidden @ self.chances).log()


TARGET = Bigrams(
    [[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.0, 0.5], [0.05, 0.6, 0.3, 0.05]]
)
CLOSE = Bigrams(
    [[0.2, 0.2, 0.2, 0.4], [0.5, 0.2, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.1, 0.5, 0.3, 0.1]]
)
WRONG = Bigrams(
    [[0.97, 0.01, 0.01, 0.01], [0.0, 0.0, 0.5, 0.5], [0.01, 0.01, 0.97, 0.01], [0.5, 0.0, 0.0, 0.5]]
)


class Fool:
    """A draft that is always sure of the token which the model likes least."""

    def __init__(self, model):
        self.model = model

    def propose(self, ids, hidden, n, choose):
        start, q = len(ids), torch.zeros(n, self.model.settings.vocab_size)
        for i in range(n):
            token = self.model(ids[None])[0, -1].argmin()
            q[i, token] = 1.0
            ids = torch.cat([ids, token[None]])
        return ids[start:], q


def test_acceptance_by_hand():
    p = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.0, 0.5, 0.5]])
    q = torch.tensor([[0.25, 0.5, 0.25], [0.4, 0.4, 0.2], [0.5, 0.25, 0.25]])
    cases = [
        ([0, 1, 1], [0.999, 0.999, 0.999], 3),  # p is above q three times: certain
        ([1, 1, 1], [0.59, 0.9, 0.9], 3),  # 0.3 / 0.5
        ([1, 1, 1], [0.61, 0.0, 0.0], 0),  # what follows a refused token is not asked
        ([0, 0, 1], [0.9, 0.24, 0.9], 3),  # 0.1 / 0.4
        ([0, 0, 1], [0.9, 0.26, 0.9], 1),
        ([0, 1, 0], [0.9, 0.9, 0.0], 2),  # chance 0 never stands
    ]
    for drafted, uniform, want in cases:
        assert count_accepted(p, q, torch.tensor(drafted), torch.tensor(uniform)) == want
    assert count_accepted(p[:0], q[:0], torch.tensor([], dtype=torch.long), torch.tensor([])) == 0
    torch.testing.assert_close(
        acceptance_probability(p, q), torch.tensor([0.25 + 0.3 + 0.2, 0.1 + 0.4 + 0.1, 0.5])
    )
    torch.testing.assert_close(residual_probs(p[0], q[0]), torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(residual_probs(p[2], q[2]), torch.tensor([0.0, 0.5, 0.5]))
    assert torch.equal(residual_probs(p[0], p[0]), p[0])


chance_tables = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=6
).filter(lambda pairs: all(map(any, zip(*pairs, strict=True))))


@settings(max_examples=25, deadline=None)
@given(chance_tables)
def test_drafting_accepting_and_correcting_together_give_the_model_s_chances(pairs):
    """Added up over every token that may be drafted and a fine grid of random numbers: no
    sampling."""
    p, q = (torch.tensor(part, dtype=torch.float) / sum(part) for part in zip(*pairs, strict=True))
    grid, total = (torch.arange(200) + 0.5) / 200, torch.zeros(len(p))
    for token in q.nonzero()[:, 0]:
        stands = sum(count_accepted(p[None], q[None], token[None], u[None]) for u in grid) / 200
        total[token] += q[token] * stands
        total += q[token] * (1 - stands) * residual_probs(p, q)
    torch.testing.assert_close(total, p, atol=5e-3, rtol=0)  # the grid counts in steps of 1/200


def test_expected_tokens_are_the_closed_form():
    for a, g in [(0.0, 3), (0.3, 1), (0.8, 4), (0.999, 7)]:
        assert expected_tokens_per_pass(a, g) == pytest.approx((1 - a ** (g + 1)) / (1 - a))
    assert expected_tokens_per_pass(1.0, 4) == 5


def plausible(counts, chances):
    """Chi-square: would what was seen happen by chance more often than about once in a thousand
    times?"""
    n = sum(counts.values())
    assert set(counts) <= {what for what, chance in chances.items() if chance > 0}, (
        "something of chance 0 was drawn"
    )
    cells = [(counts[what], chance * n) for what, chance in chances.items() if chance * n >= 5]
    cells.append((n - sum(seen for seen, _ in cells), n - sum(want for _, want in cells)))
    distance, freedom = (
        sum((seen - want) ** 2 / want for seen, want in cells if want > 1),
        len(cells) - 1,
    )
    return distance < freedom + 3.5 * (2 * freedom) ** 0.5 + 4


def steps_are_those_of(target, draft, options, n=1200, n_ahead=3):
    """In one long text: does each token follow each other one as often as the model's chances
    say?"""
    text = speculative_generate(
        target,
        ModelDraft(draft),
        torch.tensor([0]),
        n,
        n_ahead=n_ahead,
        generator=seeded(5),
        **options,
    )
    pairs = Counter(itertools.pairwise(text.ids.tolist()))
    ids = torch.arange(len(target.chances))
    probs = next_token_probs(target.logits(target.hidden(ids)), **options).tolist()
    rows = [Counter({b: n for (a, b), n in pairs.items() if a == row}) for row in ids.tolist()]
    return all(
        plausible(seen, dict(enumerate(want)))
        for seen, want in zip(rows, probs, strict=True)
        if seen
    )


@pytest.mark.parametrize(
    ("draft", "options"),
    [
        (CLOSE, {}),
        (WRONG, {}),
        (CLOSE, {"temperature": 0.6, "top_p": 0.8}),
        (WRONG, {"temperature": 1.5, "min_p": 0.2}),
        (TARGET, {"top_k": 2}),
    ],
)
def test_every_step_of_a_long_text_has_exactly_the_model_s_chances(draft, options):
    assert steps_are_those_of(TARGET, draft, options)


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("residual_probs", lambda p, q: p),  # a refused token is drawn from p anew
        ("count_accepted", lambda p, q, drafted, uniform: len(drafted)),  # whatever the draft says
        (
            "verify_draft",
            lambda p, q, drafted, generator: torch.cat([drafted, p[-1].argmax()[None]]),
        ),
    ],
)
def test_the_test_above_finds_a_wrong_rule(monkeypatch, name, mistake):
    monkeypatch.setattr(f"course_lib.inference.speculative.{name}", mistake)
    with contextlib.suppress(AssertionError):  # a token of chance 0
        assert not steps_are_those_of(TARGET, CLOSE, {}, n=1000)


def texts_of_three(target, draft, seed, n=300):
    """All texts of three tokens: how often each was written, and its exact chance."""
    chances, counts, generator = {}, Counter(), seeded(seed)
    for text in itertools.product(range(3), repeat=3):
        probs = target(torch.tensor([[2, 1, *text]]))[0, 1:-1].softmax(-1)
        chances[text] = math.prod(probs[t, token].item() for t, token in enumerate(text))
    assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
    for _ in range(n):
        counts[
            tuple(
                speculative_generate(target, draft, torch.tensor([2, 1]), 3, generator=generator)
                .ids[2:]
                .tolist()
            )
        ] += 1
    return counts, chances


def test_texts_of_transformers_have_exactly_the_model_s_chances():
    target, draft = gpt2(0, vocab_size=3), ModelDraft(gpt2(1, vocab_size=3, n_layers=1))
    assert plausible(*texts_of_three(target, draft, seed=2))


@pytest.mark.parametrize("n_ahead", [1, 2, 5, 40])
def test_greedy_text_is_the_model_s_token_for_token(n_ahead):
    target = gpt2(0)
    for draft in (ModelDraft(target), ModelDraft(gpt2(1, n_layers=1)), Fool(target)):
        for prompt in ([3], [1, 2, 3, 4, 5, 6]):
            got = speculative_generate(
                target, draft, torch.tensor(prompt), 18, n_ahead=n_ahead, temperature=0.0
            )
            want = generate(target, torch.tensor([prompt]), 18, temperature=0.0)[0]
            assert torch.equal(got.ids, want) and got.n_tokens == 18


@pytest.mark.parametrize("n_ahead", [1, 3])
def test_v3_drafts_for_itself_and_says_what_it_would_have_said(n_ahead):
    model = deepseek_v3()
    for prompt in ([3], [1, 2, 3, 4, 5, 6]):
        got = speculative_generate(
            model, MTPDraft(model), torch.tensor(prompt), 18, n_ahead=n_ahead, temperature=0.0
        )
        assert torch.equal(got.ids, generate(model, torch.tensor([prompt]), 18, temperature=0.0)[0])
        assert got.n_tokens == 18 and got.n_judged > 0


def test_v3_s_texts_too_have_exactly_the_model_s_chances():
    model = deepseek_v3(vocab_size=3)
    assert plausible(*texts_of_three(model, MTPDraft(model), seed=4))


def test_the_module_guesses_as_in_training():
    """The first guess is what `predict_ahead` says in one pass over the text so far, whatever was
    refused before; in the second, the module's own last output stands where the model's is not
    known yet."""
    model, greedy = deepseek_v3(), lambda logits: (logits.argmax(), logits.softmax(-1))
    draft = MTPDraft(model)
    with torch.no_grad():
        for text in (
            [5],
            [5, 6],
            [5, 6, 7, 8],
            [5, 6, 7, 8],
            [5, 6, 9, 1, 2],
            [5, 6, 9],
            [1, 2],
            [1, 2, 3, 4, 5, 6],
        ):
            ids = torch.tensor([text])
            hidden = model.hidden(ids)[:, :-1]
            drafted, q = draft.propose(ids[0], hidden[0], 3, greedy)
            assert len(drafted) == (3 if len(text) > 1 else 0)
            if len(text) > 1:
                first = model.predict_ahead(hidden, ids[:, 1:])[0, -1]
                own = model.mtp(hidden, model.token_embedding(ids[:, 1:]))[:, -1:]
                longer = torch.cat([ids[0, 1:], drafted[:1]])[None]
                second = model.predict_ahead(torch.cat([hidden, own], dim=1), longer)[0, -1]
                torch.testing.assert_close(q[:2], torch.stack([first, second]).softmax(-1))
            draft.propose(ids[0], hidden[0], 0, greedy)
    with pytest.raises(ValueError, match="mtp=False"):
        MTPDraft(deepseek_v3(mtp=False))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_accepts_all_its_own_proposals_and_saves_its_passes(temperature):
    target = gpt2(0)
    got = speculative_generate(
        target,
        ModelDraft(target),
        torch.tensor([1, 2]),
        20,
        temperature=temperature,
        generator=seeded(),
    )
    assert (got.n_passes, got.n_judged, got.n_accepted) == (4, 16, 16)  # 4 + 1 tokens each time
    assert got.acceptance_rate == 1 and got.tokens_per_pass == 5


def test_a_fool_gains_nothing_and_costs_no_pass():
    target = gpt2(0)
    got = speculative_generate(
        target, Fool(target), torch.tensor([1, 2]), 20, n_ahead=3, temperature=0.0
    )
    # the last token needs no draft
    assert (got.n_passes, got.n_judged, got.n_accepted) == (20, 19, 0)
    assert got.acceptance_rate == 0 and got.tokens_per_pass == 1


def test_rates_are_those_of_theory():
    """Where every token stands with the same chance, rate and yield are sum min(p, q) and its
    geometric series."""
    p, q = [0.5, 0.3, 0.15, 0.05], [0.25, 0.25, 0.25, 0.25]
    target, draft = Bigrams([p] * 4), ModelDraft(Bigrams([q] * 4))
    got = speculative_generate(
        target, draft, torch.tensor([0]), 2500, n_ahead=3, generator=seeded()
    )
    a = 0.25 + 0.25 + 0.15 + 0.05
    assert acceptance_probability(torch.tensor(p), torch.tensor(q)).item() == pytest.approx(a)
    assert got.acceptance_rate == pytest.approx(a, abs=4 * (a * (1 - a) / got.n_judged) ** 0.5)
    assert got.tokens_per_pass == pytest.approx(expected_tokens_per_pass(a, 3), rel=0.05)


def test_every_token_that_stood_is_read_once(monkeypatch):
    target, read, hidden = gpt2(0), [], GPT2.hidden

    def counting(self, ids, caches=None, padding=None):
        if self is target:
            read.append(ids.shape[1])
        return hidden(self, ids, caches, padding)

    monkeypatch.setattr(GPT2, "hidden", counting)
    got = speculative_generate(
        target, ModelDraft(gpt2(1)), torch.tensor([1, 2, 3]), 15, n_ahead=2, generator=seeded()
    )
    assert read[0] == 3 + 2 and set(read[1:-1]) <= {3, 2} and len(read) == got.n_passes < 15


def test_a_reader_goes_on_from_where_texts_part():
    model = gpt2(0)
    reader = CachedReader(model)
    with torch.no_grad():
        for text in ([1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 9], [1, 2, 9], [1], [7, 8, 9]):
            reader.read(torch.tensor(text))
            torch.testing.assert_close(reader.hidden, model.hidden(torch.tensor([text]))[0])
            torch.testing.assert_close(reader.scores(1)[0], model(torch.tensor([text]))[0, -1])


def test_a_stop_token_ends_the_text_wherever_it_stands_in_a_round():
    target = gpt2(0)
    for seed, stop in itertools.product(range(4), (2, 5, 10)):
        wish = {"n_ahead": 5, "generator": seeded(seed)}
        free = (
            speculative_generate(target, ModelDraft(gpt2(1)), torch.tensor([stop, 1]), 20, **wish)
            .ids[2:]
            .tolist()
        )
        wish["generator"] = seeded(seed)
        got = speculative_generate(
            target, ModelDraft(gpt2(1)), torch.tensor([stop, 1]), 20, stop_token=stop, **wish
        )
        want = free[: free.index(stop) + 1] if stop in free else free
        assert got.ids[2:].tolist() == want and got.n_tokens == len(want)


def test_a_draft_may_serve_several_texts():
    target, draft = gpt2(0), ModelDraft(gpt2(1))
    for seed in range(3):
        fresh = speculative_generate(
            target, ModelDraft(gpt2(1)), torch.tensor([seed, 1]), 12, generator=seeded(seed)
        )
        used = speculative_generate(
            target, draft, torch.tensor([seed, 1]), 12, generator=seeded(seed)
        )
        assert torch.equal(fresh.ids, used.ids) and fresh.n_accepted == used.n_accepted


def test_one_token_and_a_full_context():
    target = gpt2(0)
    got = speculative_generate(target, ModelDraft(gpt2(1)), torch.tensor([4]), 1)
    assert (got.n_tokens, got.n_passes, got.n_judged) == (1, 1, 0) and math.isnan(
        got.acceptance_rate
    )
    assert (
        len(speculative_generate(target, ModelDraft(gpt2(1)), torch.tensor([4] * 10), 14).ids) == 24
    )


def test_judge_adds_one_token_to_those_that_stand():
    p, q = torch.eye(3)[[0, 1, 2]], torch.eye(3)[[0, 1]]
    assert verify_draft(p, q, torch.tensor([0, 1])).tolist() == [0, 1, 2]
    assert verify_draft(p, torch.eye(3)[[0, 2]], torch.tensor([0, 2])).tolist() == [0, 1]
    assert verify_draft(p, torch.eye(3)[[1, 2]], torch.tensor([1, 2])).tolist() == [0]


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([], {}, "prompt of 0 tokens"),
        ([1] * 22, {}, "prompt of 22 tokens and 3 new ones.*max_seq_len 24"),
        ([1], {"max_new_tokens": 0}, "max_new_tokens 0"),
        ([1], {"n_ahead": 0}, "n_ahead 0"),
        ([1], {"temperature": -1.0}, "temperature -1.0"),
        ([1], {"top_p": 0.0}, "top_p 0.0"),
        ([11], {}, "token 11"),
    ],
)
def test_impossible_wishes_name_their_numbers(prompt, options, message):
    options = {"max_new_tokens": 3} | options
    with pytest.raises(ValueError, match=message):
        speculative_generate(
            gpt2(0), ModelDraft(gpt2(1)), torch.tensor(prompt, dtype=torch.long), **options
        )


def test_a_draft_of_another_vocabulary_is_refused():
    with pytest.raises((ValueError, TypeError)):  # a TypeError where the annotations are checked
        speculative_generate(gpt2(0), ModelDraft(gpt2(1, vocab_size=9)), torch.tensor([1, 2]), 5)
