"""Speculative decoding: a cheap draft proposes tokens, the model judges them in one pass.

The text stays the model's. Source: Leviathan et al. 2022, arXiv 2211.17192; Chen et al. 2023, arXiv
2302.01318.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.inference.cache import make_caches
from course_lib.inference.generate import (
    check_sampling,
    checked_logits,
    next_token_probs,
    random_points,
    sample_tokens,
)
from course_lib.layers.precision import at_least_float32

# scores (V) -> a token drawn from them, and all the probabilities (V)
SamplingRule = Callable[[Tensor], tuple[Tensor, Tensor]]


@runtime_checkable
class DraftSource(Protocol):
    """Whatever can guess how a text goes on."""

    def propose(
        self, ids: Int[Tensor, "S"], hidden: Float[Tensor, "R *n C"], n: int, choose: SamplingRule
    ) -> tuple[Int[Tensor, "N"], Float[Tensor, "N V"]]:
        """Guess up to `n` tokens after `ids`, each by `choose`; return them and all probabilities.

        `hidden` is what the judging model made of all tokens but the last, in V4 `n` streams of it.
        """


@dataclass(frozen=True)
class SpeculativeText:
    """A text written by speculative decoding, and how it went."""

    ids: Int[Tensor, "S"]  # the prompt included
    n_tokens: int  # new ones
    n_passes: int  # of the judging model
    n_judged: int  # drafted tokens, up to the first one refused in each pass
    n_accepted: int

    @property
    def acceptance_rate(self) -> float:
        """Give the share of the judged tokens that stood; NaN if there were none."""
        return self.n_accepted / self.n_judged if self.n_judged else float("nan")

    @property
    def tokens_per_pass(self) -> float:
        """Give the mean number of tokens that one pass of the model yielded; 1 without a draft."""
        return self.n_tokens / self.n_passes


def count_accepted(
    p: Float[Tensor, "N V"],
    q: Float[Tensor, "N V"],
    drafted: Int[Tensor, "N"],
    uniform: Float[Tensor, "N"],
) -> int:
    """Count the drafted tokens that stand, each with probability min(1, p / q), up to a refusal.

    `p` holds the probabilities by the judging model, `q` those by the draft, `uniform` a random
    number from [0, 1) for each.

    >>> p, q = torch.tensor([[0.8, 0.2], [0.3, 0.7]]), torch.tensor([[0.5, 0.5], [0.6, 0.4]])
    >>> drafted = torch.tensor([0, 0])                          # stand with probability 1 and 0.5
    >>> [count_accepted(p, q, drafted, torch.tensor([0.99, u])) for u in (0.49, 0.51)]
    [2, 1]
    """
    if p.shape != q.shape:
        raise ValueError(
            f"the model gives probabilities of {tuple(p.shape)}, the draft of {tuple(q.shape)}"
        )
    chosen = drafted[:, None]
    stands = uniform * q.gather(-1, chosen)[:, 0] < p.gather(-1, chosen)[:, 0]
    return int(stands.cumprod(0).sum())


def residual_probs(p: Float[Tensor, "V"], q: Float[Tensor, "V"]) -> Float[Tensor, "V"]:
    """Give the probabilities of the token in place of a refused one: max(0, p - q), scaled to 1.

    That is what the draft offered too seldom.

    >>> residual_probs(torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6]))
    tensor([0.7500, 0.2500, 0.0000])
    """
    # in float16 small differences and their sum would be 0
    p, q = (at_least_float32(p), at_least_float32(q))
    missing = (p - q).clamp(min=0)
    return missing / missing.sum() if missing.any() else p  # none missing: p = q up to rounding


def verify_draft(
    p: Float[Tensor, "M V"],
    q: Float[Tensor, "N V"],
    drafted: Int[Tensor, "N"],
    generator: torch.Generator | None = None,
) -> Int[Tensor, "K"]:
    """Keep the drafted tokens that stand, and add one: for the first that fell, or after all.

    `p` has one row more than `q`: what the model thinks after the last drafted token. Each token
    that this returns has the distribution `p`, given those before it.
    """
    stood = count_accepted(
        p[:-1], q, drafted, random_points((len(drafted),), generator).to(p.device)
    )
    last = p[-1] if stood == len(drafted) else residual_probs(p[stood], q[stood])
    return torch.cat([drafted[:stood], sample_tokens(last, generator)[None]])


def acceptance_probability(
    p: Float[Tensor, "*B V"], q: Float[Tensor, "*B V"]
) -> Float[Tensor, "*B"]:
    """Give the probability that a token drawn from `q` stands: the sum of min(p, q).

    Source: Leviathan et al., theorem 3.5.
    """
    return torch.minimum(p, q).sum(-1)


def expected_tokens_per_pass(acceptance_rate: float, n_drafted: int) -> float:
    """Give the mean number of tokens per pass: 1 + a + ... + a^n (equation 1).

    Each drafted token stands with the same probability a.

    >>> expected_tokens_per_pass(0.5, 2), expected_tokens_per_pass(1.0, 2)
    (1.75, 3.0)
    """
    return sum(acceptance_rate**n for n in range(n_drafted + 1))


class CachedReader:
    """A model and the text that it has read: given another, it goes on from where the two part.

    `ids` is the text and `hidden` what the model made of its tokens, before the scores. Where the
    caches cannot be cut at that place, as V4's, some tokens before it are read again.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.caches = make_caches(model, model.settings.max_seq_len)
        self.ids = torch.empty(0, dtype=torch.long)
        self.hidden = torch.empty(0, model.settings.d_model)

    def read(self, ids: Int[Tensor, "S"], n_certain: int | None = None) -> None:
        """Read a text, its last token in any case.

        The next text begins with the first `n_certain` tokens too (None: with all).
        """
        known = min(shared_prefix_length(self.ids, ids), len(ids) - 1)
        for cache in self.caches:
            known = cache.fall_back(known)
        if n_certain is None or known <= n_certain:
            for cache in self.caches:
                cache.remember()
        with torch.inference_mode():
            new = self.model.hidden(ids[None, known:], self.caches)[0]
        self.ids, self.hidden = ids, torch.cat([self.hidden[:known], new]) if known else new

    def scores(self, n: int) -> Float[Tensor, "n V"]:
        """Score what follows each of the last `n` tokens."""
        return self.model.logits(self.hidden[None, -n:])[0]


def shared_prefix_length(a: Int[Tensor, "S"], b: Int[Tensor, "L"]) -> int:
    """Count the tokens that two texts have in common at their start.

    >>> shared_prefix_length(torch.tensor([1, 2, 3]), torch.tensor([1, 2, 4, 3]))
    2
    """
    n = min(len(a), len(b))
    # a text of nothing may be on any device
    return int((a[:n] == b[:n]).cumprod(0).sum()) if n else 0


def stack_draft_probs(
    rows: list[Tensor], vocab_size: int, device: torch.device
) -> Float[Tensor, "N V"]:
    """Put the probabilities of the drafted tokens into one table, in their own precision.

    Of none, a table of no rows.
    """
    return torch.stack(rows) if rows else torch.empty(0, vocab_size, device=device)


class ModelDraft:
    """A smaller model of the same vocabulary as draft."""

    def __init__(self, model: nn.Module) -> None:
        self.reader = CachedReader(model)

    def propose(
        self, ids: Int[Tensor, "S"], hidden: Float[Tensor, "R *n C"], n: int, choose: SamplingRule
    ) -> tuple[Int[Tensor, "N"], Float[Tensor, "N V"]]:
        """Write `n` tokens one by one; see `DraftSource`."""
        start, rows = len(ids), []
        for _ in range(n):
            self.reader.read(ids, n_certain=start)
            token, probs = choose(self.reader.scores(1)[0])
            ids = torch.cat([ids, token[None]])
            rows.append(probs)
        return ids[start:], stack_draft_probs(
            rows, self.reader.model.settings.vocab_size, ids.device
        )


class MTPDraft:
    """Multi-token prediction (V3, V4) as draft: guess from what the model made so far.

    It was trained to look one token further than the model; further ones it guesses from its own
    output in place of the model's. It has nothing to go by until the model has read something: the
    first pass is without a draft. Source: DeepSeek-V3 (arXiv 2412.19437), section 5.4.3.
    """

    def __init__(self, model: nn.Module) -> None:
        if getattr(model, "mtp", None) is None:
            raise ValueError(
                "this model has no module for multi-token prediction: its settings say mtp=False"
            )
        self.model = model
        (self.cache, *_) = make_caches(model, model.settings.max_seq_len)
        self.ids = torch.empty(0, dtype=torch.long)

    def propose(
        self, ids: Int[Tensor, "S"], hidden: Float[Tensor, "R *n C"], n: int, choose: SamplingRule
    ) -> tuple[Int[Tensor, "N"], Float[Tensor, "N V"]]:
        """Join each token with what the model made of the one before, and guess.

        See `DraftSource`.
        """
        n = n if len(hidden) else 0
        known = max(
            0, min(self.cache.length, shared_prefix_length(self.ids, ids) - 1, len(ids) - 2)
        )
        known = self.cache.fall_back(known)  # what lies behind stands on guesses
        self.ids, start, rows = ids, len(ids), []
        unread, state = ids[known + 1 :], hidden[known:]
        for step in range(n):
            state = self.model.think_ahead(state[None], unread[None], self.cache)[0]
            if step == 0:
                self.cache.remember()
            token, probs = choose(self.model.logits_ahead(state[None, -1:])[0, 0])
            rows.append(probs)
            ids, unread, state = torch.cat([ids, token[None]]), token[None], state[-1:]
        return ids[start:], stack_draft_probs(rows, self.model.settings.vocab_size, ids.device)


@torch.no_grad()
def speculative_generate(
    model: nn.Module,
    draft: DraftSource,
    prompt: Int[Tensor, "T"],
    max_new_tokens: int,
    *,
    n_ahead: int = 4,
    stop_token: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> SpeculativeText:
    """Continue a prompt as `model` would, in fewer passes: `draft` runs `n_ahead` tokens ahead.

    The text has exactly the distribution of sampling from `model` with these settings (see
    `next_token_probs`), however bad the draft is; greedy (temperature 0), it is the same text. It
    ends with `stop_token` or after `max_new_tokens`. Raises a ValueError where prompt and new
    tokens exceed the context, and for a model or draft whose scores choose no token.
    """
    check_sampling(temperature, top_k, top_p, min_p)
    check_speculation_lengths(len(prompt), max_new_tokens, n_ahead, model.settings.max_seq_len)

    def next_probs(logits: Tensor) -> Tensor:
        return next_token_probs(logits, temperature, top_k, top_p, min_p)

    def choose(logits: Tensor) -> tuple[Tensor, Tensor]:
        probs = next_probs(checked_logits(logits, "the draft's row "))
        return sample_tokens(probs, generator), probs

    text, end, reader = prompt, len(prompt) + max_new_tokens, CachedReader(model)
    n_passes = n_judged = n_accepted = 0
    while len(text) < end:
        drafted, q = draft.propose(
            text, reader.hidden[: len(text) - 1], min(n_ahead, end - len(text) - 1), choose
        )
        reader.read(torch.cat([text, drafted]), n_certain=len(text))
        steps = range(len(text) - len(prompt), len(text) - len(prompt) + len(drafted) + 1)
        scores = checked_logits(reader.scores(len(steps)), "new token ", steps)
        new = verify_draft(next_probs(scores), q, drafted, generator)
        n_passes += 1
        n_judged += min(len(new), len(drafted))
        n_accepted += len(new) - 1
        stops = (new == stop_token).nonzero()[:, 0] if stop_token is not None else new[:0]
        if len(stops):
            text = torch.cat([text, new[: stops[0] + 1]])
            break
        text = torch.cat([text, new])
    return SpeculativeText(text, len(text) - len(prompt), n_passes, n_judged, n_accepted)


def check_speculation_lengths(
    prompt_length: int, max_new_tokens: int, n_ahead: int, room: int
) -> None:
    if max_new_tokens < 1 or n_ahead < 1:
        raise ValueError(
            f"max_new_tokens {max_new_tokens} and n_ahead {n_ahead} must be at least 1"
        )
    if not 1 <= prompt_length <= room - max_new_tokens:
        lengths = f"a prompt of {prompt_length} tokens and {max_new_tokens} new ones"
        raise ValueError(
            f"{lengths}: the prompt must hold at least 1, both together at most max_seq_len {room}"
        )
