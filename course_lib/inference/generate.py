"""Let a model write: predict a token, choose it, append it, repeat."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.inference.cache import KVCache


def next_token_probs(
    logits: Float[Tensor, "*B V"], temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Float[Tensor, "*B V"]:
    """Turn scores into the chances with which each token is chosen.

    A `temperature` below 1 sharpens the chances, above 1 flattens them, and 0 leaves only the best token. `top_k`
    keeps the k most likely tokens, `top_p` the smallest set of most likely tokens that holds at least that much of the
    chance (Holtzman et al. 2019, arXiv 1904.09751); what is left is scaled to sum to 1. The three act in this order.

    >>> logits = torch.tensor([0.5, 0.3, 0.2]).log()
    >>> next_token_probs(logits, top_k=2), next_token_probs(logits, top_p=0.4)
    (tensor([0.6250, 0.3750, 0.0000]), tensor([1., 0., 0.]))
    """
    check_sampling(temperature, top_k, top_p)
    if temperature == 0:
        return nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    probs = (logits / temperature).softmax(-1)
    if top_k is not None and top_k < logits.shape[-1]:
        probs = keep(probs, torch.arange(logits.shape[-1]) < top_k)
    if top_p is not None:
        ordered = probs.sort(descending=True, stable=True).values
        probs = keep(probs, ordered.cumsum(-1) - ordered < top_p)
    return probs


def keep(probs: Float[Tensor, "*B V"], kept: Tensor) -> Float[Tensor, "*B V"]:
    """Keep the tokens whose place in the order of likelihood is `kept`; scale their chances to sum to 1."""
    ordered, order = probs.sort(descending=True, stable=True)
    probs = torch.zeros_like(probs).scatter(-1, order, ordered * kept)
    return probs / probs.sum(-1, keepdim=True)


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature {temperature} must be 0 (always the best token) or a number above it")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k} would leave no token to choose")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p {top_p} is outside (0, 1]")


def sample(probs: Float[Tensor, "*B V"], generator: torch.Generator | None = None) -> Int[Tensor, "*B"]:
    """Draw one token per row: lay the chances end to end on a line from 0 to 1 and see where a random point falls."""
    line = probs.double().cumsum(-1)
    point = torch.rand(probs.shape[:-1], generator=generator, dtype=torch.double) * line[..., -1]
    return torch.searchsorted(line, point[..., None], right=True)[..., 0]


def stream(
    model: nn.Module,
    ids: Int[Tensor, "B T"],
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
) -> Iterator[Int[Tensor, "B"]]:
    """Yield the next token of every row, again and again.

    When the context is full, the model goes on from the newer half of it, with or without the cache. `use_cache`
    changes the speed alone. Raises a ValueError for an empty prompt, one that is longer than the context, and for
    settings out of range.
    """
    room = model.settings.max_seq_len
    check_sampling(temperature, top_k, top_p)
    if ids.ndim != 2 or not 1 <= ids.shape[1] <= room:
        raise ValueError(f"a prompt of shape {tuple(ids.shape)}: it must be (B, T) with 1 to max_seq_len {room} tokens")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens {max_new_tokens} is negative")
    caches, unread = None, ids
    for _ in range(max_new_tokens):
        if ids.shape[1] > room:
            ids = ids[:, -max(1, room // 2) :]
            caches, unread = None, ids
        if use_cache and caches is None:
            caches = [KVCache(room) for _ in range(model.settings.n_layers)]
        with torch.no_grad():
            logits = model(unread if use_cache else ids, caches)[:, -1]
        token = sample(next_token_probs(logits, temperature, top_k, top_p), generator)
        yield token
        unread = token[:, None]
        ids = torch.cat([ids, unread], dim=1)


def generate(
    model: nn.Module, ids: Int[Tensor, "B T"], max_new_tokens: int, *, stop_token: int | None = None, **settings
) -> Int[Tensor, "B S"]:
    """Continue every row of `ids` by `max_new_tokens` tokens; `settings` are those of `stream`.

    A row that has drawn `stop_token` repeats it to the end; when all rows have, the writing stops early.
    """
    out, done = [ids], torch.zeros(ids.shape[0], dtype=torch.bool)
    for token in stream(model, ids, max_new_tokens, **settings):
        if stop_token is not None:
            token = torch.where(done, stop_token, token)
            done |= token == stop_token
        out.append(token[:, None])
        if done.all():
            break
    return torch.cat(out, dim=1)


def write(model: nn.Module, tokenizer, prompt: str, max_new_tokens: int, *, seed: int = 0, **settings) -> str:
    """Continue a text. Same seed, same words; `settings` are those of `generate`. Returns prompt and continuation."""
    ids = torch.tensor([tokenizer.encode(prompt, allowed_special="all")], dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)
    return tokenizer.decode(generate(model, ids, max_new_tokens, generator=generator, **settings)[0])
