"""Let a model write: predict a token, choose it, append it, repeat."""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.inference.cache import make_caches
from course_lib.layers.embedding import check_ids
from course_lib.layers.precision import at_least_float32


def next_token_probs(
    logits: Float[Tensor, "*B V"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    ids: Int[Tensor, "*B T"] | None = None,
) -> Float[Tensor, "*B V"]:
    """Turn scores into the probabilities with which each token is chosen.

    The knobs act in this order, each on what the one before it left: `repetition_penalty` (on the
    tokens in `ids`, the text so far), `temperature` (0: greedy, always the best token), `top_k`,
    `top_p`, `min_p`. What is left is scaled to sum to 1.

    >>> logits = torch.tensor([0.5, 0.3, 0.2]).log()
    >>> next_token_probs(logits, top_k=2), next_token_probs(logits, top_p=0.4)
    (tensor([0.6250, 0.3750, 0.0000]), tensor([1., 0., 0.]))
    """
    check_sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    if repetition_penalty is not None:
        if ids is None:
            raise ValueError(f"repetition_penalty {repetition_penalty} needs ids, the text so far")
        logits = penalize_repeats(logits, ids, repetition_penalty)
    logits = apply_temperature(logits, temperature)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    if min_p is not None:
        logits = keep_min_p(logits, min_p)
    return logits.softmax(-1)


def penalize_repeats(
    logits: Float[Tensor, "*B V"], ids: Int[Tensor, "*B T"], penalty: float
) -> Float[Tensor, "*B V"]:
    """Lower the scores of tokens in `ids`: divide them by `penalty`, or multiply those below 0.

    A token counts once, however often it was said. The result depends on where the scores have
    their 0, which the probabilities do not (Keskar et al. 2019, arXiv 1909.05858, section 4.1,
    which divides the scores below 0 too).

    >>> penalize_repeats(torch.tensor([3.0, -1.0, 2.0]), torch.tensor([0, 1, 1]), 2.0)
    tensor([ 1.5000, -2.0000,  2.0000])
    """
    check_sampling(repetition_penalty=penalty)
    check_ids(ids, logits.shape[-1])
    said = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids.long(), True)
    return torch.where(said, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def apply_temperature(logits: Float[Tensor, "*B V"], temperature: float) -> Float[Tensor, "*B V"]:
    """Sharpen (below 1) or flatten a distribution; 0 leaves the best token, of equals the first.

    The best score becomes 0: the probabilities stay the same, and no division overflows. 16-bit
    scores become float32 ones; raises a ValueError for those that `checked_logits` refuses.
    """
    check_sampling(temperature)
    logits = checked_logits(logits)
    if temperature == 0:
        best = nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
        return torch.zeros_like(logits).masked_fill(~best, -torch.inf)
    # one that rounds to 0 would make 0 / 0
    temperature = max(temperature, torch.finfo(logits.dtype).tiny)
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def checked_logits(
    logits: Float[Tensor, "*B V"],
    context: str = "row ",
    names: Sequence[int] | Int[Tensor, "N"] | None = None,
) -> Float[Tensor, "*B V"]:
    """Give scores in float32 at least; raise a ValueError if those of a row choose no token.

    A score of -inf rules its token out. NaN, inf, or nothing but -inf is the work of a broken
    model, which must not be taken for a text: the first of several NaN would be the "best" token.
    The message begins with `context` and the row's number, or what stands for it in `names`.

    >>> checked_logits(torch.tensor([[1.0, 2.0], [1.0, float("nan")]]), "new token 3 of row ")
    Traceback (most recent call last):
    ValueError: new token 3 of row 1: the best score is nan, no token can be chosen
    """
    logits = at_least_float32(logits)
    best = logits.amax(-1).flatten()  # NaN where any score of the row is
    # one number tells, sooner than each row's would
    if not math.isfinite(best.sum(dtype=torch.double)):
        row = int(best.isfinite().logical_not().nonzero()[0])
        name = row if names is None else int(names[row])
        raise ValueError(f"{context}{name}: the best score is {best[row]}, no token can be chosen")
    return logits


def keep_top_k(logits: Float[Tensor, "*B V"], k: int) -> Float[Tensor, "*B V"]:
    """Rule out (score -inf) all but the k best tokens; of equals the first stay."""
    check_sampling(top_k=k)
    order = logits.argsort(dim=-1, descending=True, stable=True)
    return logits.scatter(-1, order[..., k:], -torch.inf)


def keep_top_p(logits: Float[Tensor, "*B V"], p: float) -> Float[Tensor, "*B V"]:
    """Keep the nucleus: the fewest tokens, best first, that hold at least `p` of the probability.

    The others are ruled out. Source: Holtzman et al. 2019, arXiv 1904.09751, section 3.1.
    """
    check_sampling(top_p=p)
    if p == 1:
        return logits  # all of them, whatever rounding makes of the sum
    probs, order = logits.double().softmax(-1).sort(dim=-1, descending=True, stable=True)
    outside = probs.cumsum(-1) - probs >= p
    return logits.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -torch.inf)


def keep_min_p(logits: Float[Tensor, "*B V"], p: float) -> Float[Tensor, "*B V"]:
    """Rule out every token that is less than `p` times as likely as the best.

    Source: Nguyen et al. 2024 (arXiv 2407.01082).

    >>> keep_min_p(torch.tensor([0.5, 0.3, 0.2]).log(), 0.5).softmax(-1)     # at least half of 0.5
    tensor([0.6250, 0.3750, 0.0000])
    """
    check_sampling(min_p=p)
    probs = logits.double().softmax(-1)
    return logits.masked_fill(probs < p * probs.amax(-1, keepdim=True), -torch.inf)


def check_sampling(
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
) -> None:
    """Raise a ValueError for numbers that leave no token, or that no distribution is made by."""
    if not 0 <= temperature < math.inf:
        raise ValueError(
            f"temperature {temperature} must be 0 (always the best token) or a number above it"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k} would leave no token to choose")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p {top_p} is outside (0, 1]")
    if min_p is not None and not 0 <= min_p < 1:
        raise ValueError(f"min_p {min_p} is outside [0, 1)")
    if repetition_penalty is not None and not 0 < repetition_penalty < math.inf:
        raise ValueError(
            f"repetition_penalty {repetition_penalty} must be a number above 0 (1 changes nothing)"
        )


def sample_tokens(
    probs: Float[Tensor, "*B V"], generator: torch.Generator | None = None
) -> Int[Tensor, "*B"]:
    """Draw one token per row: see on which token's stretch of [0, 1) a random point falls.

    The probabilities lie end to end on it.
    """
    line = probs.cumsum(-1, dtype=torch.double)
    end = line[..., -1:]
    if not end.min() > 0:
        raise ValueError("the probabilities are NaN or all 0: no token can be drawn")
    point = random_points(end.shape, generator, torch.double).to(end.device) * end
    return torch.searchsorted(line, point, right=True)[..., 0]


def random_points(
    shape: Sequence[int],
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "..."]:
    """Draw numbers from [0, 1) where the generator lives, on the CPU without one.

    So the same seed gives the same numbers anywhere.
    """
    device = "cpu" if generator is None else generator.device
    return torch.rand(*shape, generator=generator, dtype=dtype, device=device)


def stream_tokens(
    model: nn.Module,
    ids: Int[Tensor, "B T"],
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
) -> Iterator[Int[Tensor, "B"]]:
    """Yield the next token of every row, again and again.

    When the context is full, the model goes on from the newer half of it, with or without the
    cache; the `repetition_penalty` too forgets what the model no longer sees. For the other
    settings see `next_token_probs`; `use_cache` changes the speed alone. Raises a ValueError for an
    empty prompt, one that is longer than the context, for settings out of range, and for a model
    whose scores choose no token.
    """
    room = model.settings.max_seq_len
    check_sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    if ids.ndim != 2 or not 1 <= ids.shape[1] <= room:
        raise ValueError(
            f"a prompt of shape {tuple(ids.shape)}: it must be (B, T) with 1 to max_seq_len {room}"
            " tokens"
        )
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens {max_new_tokens} is negative")
    caches, unread = None, ids
    for step in range(max_new_tokens):
        if ids.shape[1] > room:
            ids = ids[:, -max(1, room // 2) :]
            caches, unread = None, ids
        if use_cache and caches is None:
            caches = make_caches(model, room)
        with torch.inference_mode():  # no_grad with less to do for each operation
            logits = model(unread if use_cache else ids, caches)[:, -1]
        logits = checked_logits(logits, f"new token {step} of row ")
        probs = next_token_probs(logits, temperature, top_k, top_p, min_p, repetition_penalty, ids)
        token = sample_tokens(probs, generator)
        yield token
        unread = token[:, None]
        ids = torch.cat([ids, unread], dim=1)


def generate(
    model: nn.Module,
    ids: Int[Tensor, "B T"],
    max_new_tokens: int,
    *,
    stop_token: int | None = None,
    **settings,
) -> Int[Tensor, "B S"]:
    """Continue every row of `ids` by `max_new_tokens` tokens.

    The `settings` are those of `stream_tokens`. A row that has drawn `stop_token` repeats it to the
    end; when all rows have, the writing stops early.
    """
    out, done = [ids], torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)
    for token in stream_tokens(model, ids, max_new_tokens, **settings):
        if stop_token is not None:
            token = torch.where(done, stop_token, token)
            done |= token == stop_token
        out.append(token[:, None])
        if done.all():
            break
    return torch.cat(out, dim=1)


def write_text(
    model: nn.Module, tokenizer, prompt: str, max_new_tokens: int, *, seed: int = 0, **settings
) -> str:
    """Continue a text; return prompt and continuation.

    Same seed, same words; `settings` are those of `generate`.
    """
    device = next(model.parameters()).device
    ids = torch.tensor(
        [tokenizer.encode(prompt, allowed_special="all")], dtype=torch.long, device=device
    )
    generator = torch.Generator().manual_seed(seed)
    return tokenizer.decode(
        generate(model, ids, max_new_tokens, generator=generator, **settings)[0]
    )


@torch.no_grad()
def beam_search(
    model: nn.Module,
    ids: Int[Tensor, "T"],
    max_new_tokens: int,
    n_beams: int,
    *,
    stop_token: int | None = None,
) -> tuple[Int[Tensor, "K S"], Float[Tensor, "K"]]:
    """Search for likely continuations of one prompt.

    Extend all beams by all tokens, keep the `n_beams` best, repeat. Returns the beams, best first,
    with the log of each one's probability given the prompt, in nats. One beam is greedy writing; as
    many as there are texts is an exhaustive search. A beam that has said `stop_token` costs nothing
    more (and repeats it to the end), so short texts have the advantage. Raises a ValueError where
    prompt and continuation exceed the context, and for a model whose scores choose no token. Every
    step reads the whole text again: there is no cache here.
    """
    check_beam_request(len(ids), max_new_tokens, n_beams, model.settings.max_seq_len)
    if stop_token is not None:
        check_ids(torch.tensor(stop_token), model.settings.vocab_size)
    beams, scores = ids[None], torch.zeros(1, dtype=torch.double, device=ids.device)
    for step in range(max_new_tokens):
        logits = checked_logits(model(beams)[:, -1], f"new token {step} of beam ")
        # long texts add up many, and close beams must not swap
        steps = logits.double().log_softmax(-1)
        if stop_token is not None:
            done = (beams[:, len(ids) :] == stop_token).any(-1)
            if done.all():
                break
            steps[done] = -torch.inf
            steps[done, stop_token] = 0.0
        beams, scores = best_extensions(beams, scores, steps, n_beams)
    return beams, scores


def best_extensions(
    beams: Int[Tensor, "K S"], scores: Float[Tensor, "K"], steps: Float[Tensor, "K V"], n_beams: int
) -> tuple[Int[Tensor, "N L"], Float[Tensor, "N"]]:
    """Append each token to each beam; keep the `n_beams` best that are possible at all.

    `steps` holds the log-probabilities of the tokens.
    """
    totals = (scores[:, None] + steps).flatten()
    if totals.isnan().any():
        raise ValueError("the scores of the beams are NaN")
    scores, best = totals.topk(min(n_beams, (totals > -torch.inf).sum().item()))
    parents, tokens = best // steps.shape[1], best % steps.shape[1]
    return torch.cat([beams[parents], tokens[:, None]], dim=1), scores


def check_beam_request(prompt_length: int, max_new_tokens: int, n_beams: int, room: int) -> None:
    """Raise a ValueError without a beam or a prompt, or if prompt and new tokens find no room."""
    if n_beams < 1:
        raise ValueError(f"n_beams {n_beams} would leave no text")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens {max_new_tokens} is negative")
    if not 1 <= prompt_length <= room - max_new_tokens:
        lengths = f"a prompt of {prompt_length} tokens and {max_new_tokens} new ones"
        raise ValueError(
            f"{lengths}: the prompt must hold at least 1, both together at most max_seq_len {room}"
        )
