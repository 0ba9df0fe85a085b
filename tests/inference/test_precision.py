"""Writing by models of 16, 32 and 64 bits, by broken models, and by models that are not on the
default device."""

import copy
import sys

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from course_lib.inference.evaluate import sequence_nats
from course_lib.inference.generate import (
    beam_search,
    checked_logits,
    generate,
    next_token_probs,
    sample_tokens,
    write_text,
)
from course_lib.inference.rollout import completion_log_probs, sample_completions
from course_lib.inference.speculative import (
    ModelDraft,
    MTPDraft,
    residual_probs,
    speculative_generate,
)
from course_lib.models.deepseek import DeepSeekMoE, DeepSeekSettings, DeepSeekV2, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
EXPERTS = {"n_experts": 3, "n_chosen": 3}  # all of them: rounding can send no token elsewhere
LATENT = EXPERTS | {
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 4,
    "v_head_dim": 4,
}
SIZE = {"vocab_size": 19, "max_seq_len": 24, "d_model": 16, "n_layers": 2, "n_heads": 2}
MODELS = {
    "gpt2": lambda: GPT2(GPT2Settings(**SIZE)),
    "llama": lambda: Llama(LlamaSettings(**SIZE | {"n_heads": 4}, n_kv_heads=2, tied=True)),
    "moe": lambda: DeepSeekMoE(DeepSeekSettings(**SIZE, **EXPERTS)),
    "v2": lambda: DeepSeekV2(DeepSeekSettings(**SIZE, **LATENT)),
    "v3": lambda: DeepSeekV3(DeepSeekSettings(**SIZE, **LATENT, q_lora_rank=12, mtp=True)),
}
PROMPTS = [[1, 2, 3, 4, 5], [7], [6, 9, 1]]  # rows of different lengths: two are padded on the left


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def model_of(kind, dtype=torch.float32, seed=0):
    """A model of that type, and the same numbers in float64: what it would say without rounding on
    its way."""
    torch.manual_seed(seed)
    model = MODELS[kind]()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            # opinions, so that no two tokens are nearly tied
            torch.nn.init.normal_(parameter, std=0.2)
    model = model.to(dtype)
    return model, copy.deepcopy(model).double()


def slack(dtype):
    """How far a log-probability may be off: some dozens of roundings, through two layers."""
    # rotary angles are float32 in any model
    return 40 * torch.finfo(dtype).eps if dtype.itemsize < 8 else 1e-6


def drafts(model):
    return [ModelDraft(model), *([MTPDraft(model)] if getattr(model, "mtp", None) else [])]


def lost_by_each_choice(exact, ids, start):
    """How far below the best token each written one is, by the float64 model: 0 for a greedy
    text."""
    log_probs = exact(ids[None, :-1])[0].log_softmax(-1)[start - 1 :]
    return log_probs.amax(-1) - log_probs.gather(-1, ids[start:, None])[:, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_rollouts_of_any_type_have_the_float64_models_log_probs(kind, dtype):
    model, exact = model_of(kind, dtype)
    for options in (
        {},
        {"temperature": 0.7, "top_p": 0.9, "min_p": 0.01, "top_k": 10},
        {"temperature": 0.0},
    ):
        done = sample_completions(
            model, PROMPTS, 8, n_samples=3, stop_token=0, generator=seeded(), **options
        )
        heat = options.get("temperature", 1.0)
        want = completion_log_probs(exact, done, heat)
        for got in (done.log_probs, completion_log_probs(model, done, heat)):
            assert got.dtype == torch.promote_types(dtype, torch.float32)
            torch.testing.assert_close(got.double(), want, rtol=0, atol=slack(dtype) / (heat or 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_greedy_texts_beams_and_bits_of_any_type_are_the_float64_models(kind, dtype):
    model, exact = model_of(kind, dtype)
    prompt = torch.tensor(PROMPTS[0])
    texts = [
        generate(model, prompt[None], 8, temperature=0.0, use_cache=cached)[0]
        for cached in (True, False)
    ]
    texts += [
        speculative_generate(model, draft, prompt, 8, temperature=0.0, n_ahead=3).ids
        for draft in drafts(model)
    ]
    for ids in texts:
        assert len(ids) == 13 and lost_by_each_choice(exact, ids, 5).max() < 2 * slack(dtype)
    beams, scores = beam_search(model, prompt, 4, 3)
    each = exact(beams[:, :-1]).log_softmax(-1).gather(-1, beams[:, 1:, None])[:, 4:, 0]
    torch.testing.assert_close(scores, each.sum(-1), rtol=0, atol=4 * slack(dtype))
    assert scores.dtype == torch.double
    text = torch.cat([beams[0]] * 5)
    assert sequence_nats(model, text) == pytest.approx(
        sequence_nats(exact, text), abs=len(text) * slack(dtype)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", MODELS)
def test_sampled_texts_of_any_type_come_again_with_the_same_seed(kind, dtype):
    model, _ = model_of(kind, dtype)
    prompt = torch.tensor(PROMPTS[0])
    for write_ in (
        lambda: generate(model, prompt[None], 8, repetition_penalty=1.2, generator=seeded(3)),
        lambda: sample_completions(model, PROMPTS, 8, n_samples=2, generator=seeded(3)).ids,
        *(
            lambda draft=draft: (
                speculative_generate(model, draft, prompt, 8, top_p=0.9, generator=seeded(3)).ids
            )
            for draft in drafts(model)
        ),
    ):
        torch.manual_seed(0)
        first = write_()
        torch.manual_seed(1)  # not the seed that counts
        assert torch.equal(first, write_()) and first.max() < SIZE["vocab_size"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_chances_of_any_type_are_float64s_of_the_same_scores(dtype):
    """2,000 tokens of nearly equal chance: in bfloat16 their sum stands still at a tenth of 1."""
    logits = (torch.randn(4, 2000, generator=seeded()) / 4).to(dtype)
    for knobs in (
        {},
        {"temperature": 0.3},
        {"top_p": 0.5},
        {"min_p": 0.4},
        {"top_k": 900, "top_p": 0.8},
    ):
        probs = next_token_probs(logits, **knobs)
        assert probs.dtype == torch.promote_types(dtype, torch.float32)
        assert torch.equal(probs > 0, next_token_probs(logits.double(), **knobs) > 0)
        torch.testing.assert_close(
            probs.double(), next_token_probs(logits.double(), **knobs), rtol=1e-4, atol=0
        )
    drawn = sample_tokens(logits[:1].softmax(-1).expand(4000, -1), seeded())
    assert (
        abs(drawn.double().mean() - (logits[0].double().softmax(-1) * torch.arange(2000)).sum())
        < 30
    )


@pytest.mark.parametrize("temperature", [1e-320, 1e-50, 1e39, 1e300])
def test_temperatures_that_float32_does_not_hold(temperature):
    probs = next_token_probs(torch.tensor([1.0, 3.0, 2.0]), temperature)
    torch.testing.assert_close(
        probs, torch.tensor([0.0, 1.0, 0.0]) if temperature < 1 else torch.full((3,), 1 / 3)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_a_draft_offers_too_seldom_is_made_up_for_in_16_bits_too(dtype):
    """A thousand differences of a twentieth of a thousandth each."""
    p, q = torch.full((2000,), 5e-4, dtype=dtype), torch.full((2000,), 4.5e-4, dtype=dtype)
    got = residual_probs(p, q)
    assert got.dtype == torch.float32 and got.sum().item() == pytest.approx(1)
    torch.testing.assert_close(got, torch.full((2000,), 1 / 2000))


BROKEN = {"nan": float("nan"), "inf": float("inf")}


def broken_after(model, n, value):
    """Spoil all scores of a model from its `n`-th token on, wherever it is read."""
    seen = model.hidden

    def hidden(ids, caches=None, padding=None):
        start = caches[0].length if caches else 0
        out = seen(ids, caches, padding)
        out[:, max(0, n - start) :] = value
        return out

    model.hidden = hidden
    return model


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.0}, {"top_p": 0.8}, {"temperature": 0.5, "min_p": 0.1}]
)
@torch.no_grad()
def test_a_broken_model_is_refused_by_the_token_it_breaks_at(value, options):
    ids = torch.tensor([[1, 2, 3]])

    def model(n=5):
        return broken_after(model_of("llama")[0], n, value)

    for use_cache in (True, False):
        with pytest.raises(
            ValueError, match=r"new token 3 of row 0: the best score is (nan|inf), no token"
        ):
            generate(model(), ids, 8, use_cache=use_cache, **options)
    with pytest.raises(
        ValueError, match=r"new token 3 of row 0: the best score is (nan|inf), no token"
    ):
        sample_completions(model(), [[1, 2, 3]], 8, n_samples=2, **options)
    whole = model_of("llama")[0]
    with pytest.raises(ValueError, match=r"new token 3: the best score is (nan|inf), no token"):
        speculative_generate(model(), ModelDraft(whole), ids[0], 8, n_ahead=1, **options)
    with pytest.raises(
        ValueError, match=r"the draft's row 0: the best score is (nan|inf), no token"
    ):
        speculative_generate(whole, ModelDraft(model()), ids[0], 8, **options)
    with pytest.raises(
        ValueError, match=r"new token 3 of beam 0: the best score is (nan|inf), no token"
    ):
        beam_search(model(), ids[0], 8, 2)


def test_a_broken_row_is_named_also_when_others_have_left():
    """Token 5 is read as NaN: row 0 says the stop token at once and leaves, row 2 says 4, 5 and
    breaks first."""
    following = torch.tensor([0, 0, 3, 4, 5, 5])

    class Chain(torch.nn.Linear):
        settings, blocks = GPT2Settings(6, 16, 6, 1, 1), (None,)

        def hidden(self, ids, caches=None, padding=None):
            for cache in caches:
                cache.append(torch.zeros(*ids.shape, 1))
            return F.one_hot(following[ids], 6).float().where(ids[..., None] != 5, torch.nan)

        def logits(self, hidden):
            return hidden

    with pytest.raises(ValueError, match="new token 2 of row 2: "):
        sample_completions(Chain(1, 1), [[1], [2], [3]], 4, stop_token=0, temperature=0.0)


@pytest.mark.parametrize(
    "scores", [[1.0, float("nan"), 5.0], [float("inf"), 1.0, 2.0], [float("-inf")] * 3]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_that_choose_no_token_are_refused_and_ruled_out_ones_are_not(scores, dtype):
    rows = torch.tensor([[0.0, 1.0, float("-inf")], scores], dtype=dtype)
    for temperature in (0.0, 1.0):
        with pytest.raises(ValueError, match="row 1: the best score is .*, no token can be chosen"):
            next_token_probs(rows, temperature)
        assert next_token_probs(rows[:1], temperature)[0, 2] == 0
    with pytest.raises(ValueError, match="new token 7 of row 40: "):
        checked_logits(rows, "new token 7 of row ", names=torch.tensor([3, 40]))
    assert len(checked_logits(rows[:0])) == 0


class Elsewhere(TorchFunctionMode):
    """Put every tensor that is made without saying where on "meta", which meets no other device in
    peace."""

    spared = ("text/batches.py", "layers/position.py")  # made on the CPU, and then moved

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        caller = sys._getframe(1).f_code.co_filename
        if (
            func in _device_constructors()
            and kwargs.get("device") is None
            and not caller.endswith(self.spared)
        ):
            if not (
                func is torch.tensor and isinstance(args[0], int)
            ):  # one number may be anywhere
                kwargs["device"] = "meta"
        return func(*args, **kwargs)


class Letters:
    def encode(self, text, allowed_special=()):
        return [ord(letter) % 19 for letter in text]

    def decode(self, ids):
        return str(ids.tolist())


@pytest.mark.parametrize("kind", MODELS)
def test_every_tensor_is_made_where_the_model_is(kind):
    model, _ = model_of(kind)
    prompt, ids = torch.tensor(PROMPTS[0]), torch.tensor([PROMPTS[0], PROMPTS[0]])
    generator = seeded()
    with Elsewhere():
        assert torch.zeros(1).is_meta
        for options in (
            {"temperature": 0.0},
            {"generator": generator, "top_p": 0.9, "top_k": 5, "min_p": 0.01},
            {},
        ):
            generate(model, ids, 4, stop_token=0, repetition_penalty=1.1, **options)
            speculative_generate(model, drafts(model)[-1], prompt, 6, n_ahead=2, **options)
            done = sample_completions(model, PROMPTS, 6, n_samples=2, stop_token=3, **options)
        completion_log_probs(model, done)
        beam_search(model, prompt, 3, 2, stop_token=0)
        sequence_nats(model, torch.cat([prompt] * 7))
        write_text(model, Letters(), "ab", 4)


@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_a_row_padded_on_the_left_goes_on_from_a_cache_as_it_would_alone(kind):
    model, _ = model_of(kind, torch.float64)
    together = sample_completions(model, PROMPTS, 10, temperature=0.0)
    for row, prompt in enumerate(PROMPTS):
        alone = sample_completions(model, [prompt], 10, temperature=0.0)
        assert together.completions[row] == alone.completions[0]
        torch.testing.assert_close(together.log_probs[row], alone.log_probs[0], rtol=0, atol=1e-6)
        logits = model(torch.tensor([prompt + alone.completions[0]]))[0, len(prompt) - 1 : -1]
        want = F.log_softmax(logits, -1).amax(-1)
        torch.testing.assert_close(together.log_probs[row], want, rtol=0, atol=1e-6)
