"""The fast small transformer: with all switches off it is V1, and no switch looks ahead."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.models.llama import Llama, LlamaSettings
from course_lib.models.speedrun import HashedNgrams, Speedrun, SpeedrunSettings, ngram_hashes

SIZE = {"vocab_size": 30, "max_seq_len": 12, "d_model": 16, "n_layers": 2, "n_heads": 2}
SWITCHES = {
    "none": {},
    "relu_squared": {"relu_squared": True},
    "qk_norm": {"qk_norm": True},
    "softcap": {"softcap": 2.0},
    "zero_init": {"zero_init": True},
    "first_mix": {"first_mix": True},
    "value_layers": {"value_layers": 1},
    "ngrams": {"ngram_order": 3, "ngram_rows": 97},
    "ngram_head": {"ngram_order": 4, "ngram_rows": 97, "ngram_head": True},
    "all": {
        "relu_squared": True,
        "qk_norm": True,
        "softcap": 2.0,
        "first_mix": True,
        "value_layers": 2,
        "ngram_order": 4,
        "ngram_rows": 97,
        "ngram_head": True,
        "tied": True,
    },
}


def make(name: str, stirred: bool = True) -> Speedrun:
    """Build a model; stirred, nothing in it is 0 any more, so that every part has a say."""
    torch.manual_seed(0)
    model = Speedrun(SpeedrunSettings(**SIZE | SWITCHES[name]))
    if stirred:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("tied", [False, True])
def test_without_switches_it_is_v1_number_for_number(tied):
    models = []
    for kind, of in ((Llama, LlamaSettings), (Speedrun, SpeedrunSettings)):
        torch.manual_seed(3)
        models.append(kind(of(**SIZE, tied=tied)))
    ids = torch.randint(30, (2, 12))
    torch.testing.assert_close(models[1](ids), models[0](ids), rtol=0, atol=0)
    assert [n for n, _ in models[0].named_parameters()] == [
        n for n, _ in models[1].named_parameters()
    ]


@pytest.mark.parametrize("name", SWITCHES)
def test_no_switch_looks_ahead(name):
    model = make(name)

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.integers(0, 29), min_size=2, max_size=12), st.data())
    def later_tokens_change_nothing_before(ids, data):
        place = data.draw(st.integers(1, len(ids) - 1))
        other = [*ids[:place], (ids[place] + 1) % 30, *ids[place + 1 :]]
        with torch.no_grad():
            a, b = model(torch.tensor([ids])), model(torch.tensor([other]))
        assert a.shape == (1, len(ids), 30)
        torch.testing.assert_close(a[:, :place], b[:, :place], rtol=0, atol=1e-5)
        assert not torch.allclose(a[:, place], b[:, place])

    later_tokens_change_nothing_before()


@pytest.mark.parametrize("name", SWITCHES)
def test_every_parameter_learns(name):
    model = make(name)
    ids = torch.randint(30, (4, 12), generator=torch.Generator().manual_seed(1))
    F.cross_entropy(model(ids).flatten(0, 1), ids.roll(1).flatten()).backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.norm() > 0]
    assert not still


@pytest.mark.parametrize("name", [name for name in SWITCHES if name not in ("none", "softcap")])
def test_each_switch_changes_what_is_computed(name):
    plain = make("none")
    model = make(name)
    ids = torch.randint(30, (2, 12), generator=torch.Generator().manual_seed(1))
    model.load_state_dict(plain.state_dict() | dict(model.state_dict()), strict=False)
    if name == "zero_init":
        assert torch.equal(make(name, stirred=False).blocks[0].mlp.down.weight, torch.zeros(16, 40))
        return
    assert not torch.allclose(model(ids), plain(ids), atol=1e-3)


def test_a_soft_cap_bounds_the_logits_and_keeps_small_ones():
    model = make("softcap")
    free = replace(model.settings, softcap=None)
    ids = torch.randint(30, (2, 12))
    capped, hidden = model(ids), model.hidden(ids)
    model.settings = free
    raw = model.logits(hidden)
    assert capped.abs().max() <= 2 < raw.abs().max()
    torch.testing.assert_close(capped, 2 * torch.tanh(raw / 2))


def test_zero_init_passes_the_embedding_through_untouched():
    model = make("zero_init", stirred=False)
    ids = torch.randint(30, (2, 12))
    torch.testing.assert_close(model.hidden(ids), model.norm(model.token_embedding(ids)))
    assert not model(ids).any()  # a head of its own begins at 0 too


def test_value_embeddings_and_ngrams_begin_as_if_they_were_not_there():
    for name in ("value_layers", "ngram_head", "first_mix"):
        torch.manual_seed(0)
        plain = Speedrun(SpeedrunSettings(**SIZE))
        model = make(name, stirred=False)
        model.load_state_dict(plain.state_dict(), strict=False)
        ids = torch.randint(30, (2, 12))
        torch.testing.assert_close(model(ids), plain(ids))


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20), st.integers(2, 5))
@settings(max_examples=50, deadline=None)
def test_equal_ngrams_have_equal_rows_and_different_ones_hardly_ever(ids, order):
    rows = ngram_hashes(torch.tensor([ids]), order, n_rows=2**31 - 1)[0]
    assert rows.shape == (len(ids), order - 1) and rows.min() >= 0
    row_of: dict[tuple, int] = {}
    for n in range(2, order + 1):
        for t in range(len(ids)):
            gram = (n, *([-1] * n + ids[: t + 1])[-n:])
            assert row_of.setdefault(gram, int(rows[t, n - 2])) == rows[t, n - 2]
    # of 100 at most among 2^31 rows, two meet once in half a million examples
    assert len(set(row_of.values())) >= len(row_of) - 1


def test_bigrams_spread_evenly_over_few_rows():
    a, b = torch.meshgrid(torch.arange(512), torch.arange(512), indexing="ij")
    pairs = torch.stack([a.flatten(), b.flatten()], 1)
    rows = ngram_hashes(pairs, 2, n_rows=2**12)[:, 1, 0]
    counts = torch.bincount(rows, minlength=2**12)
    # 64 of the 2^18 pairs for each row; as if drawn at random they would scatter by 8
    assert counts.float().std() < 12 and counts.min() > 20


def test_ngrams_that_collide_share_their_row_and_its_gradient_adds_up():
    table = HashedNgrams(2, n_rows=1, d_model=3)
    table(torch.tensor([[1, 2, 3]])).sum().backward()
    assert table.weight.grad.to_dense().tolist() == [[3.0, 3.0, 3.0]]
    rows = HashedNgrams(2, n_rows=1000, d_model=3)
    rows(torch.tensor([[1, 2, 3]])).sum().backward()
    assert rows.weight.grad.is_sparse and rows.weight.grad.coalesce().values().shape == (3, 3)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"value_layers": 3}, "value_layers 3 are more than n_layers 2"),
        ({"ngram_order": 0}, "ngram_order 0 is below 1"),
        ({"softcap": -1.0}, "softcap -1.0 is not above 0"),
        ({"d_model": 15}, "d_model 15 is not divisible by n_heads 2"),
    ],
)
def test_settings_that_fit_nothing_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        SpeedrunSettings(**SIZE | changed)


def test_a_text_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="13 tokens are more than max_seq_len 12"):
        make("none")(torch.zeros(1, 13, dtype=torch.long))
