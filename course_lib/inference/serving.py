"""Serve a queue of requests: rows join the batch when there is room and leave it when they end.

Called continuous batching, iteration by iteration (Yu et al. 2022, Orca, OSDI).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.inference.cache import make_caches, make_row_caches
from course_lib.inference.generate import checked_logits
from course_lib.inference.speculative import shared_prefix_length
from course_lib.layers.attention import AttentionCache
from course_lib.layers.embedding import check_ids


@dataclass(frozen=True)
class ServingRequest:
    """What somebody asks for: continue `prompt` by up to `max_new_tokens`, from step `arrival`."""

    prompt: Sequence[int]
    max_new_tokens: int
    arrival: int = 0  # in decoding steps


@dataclass
class ServedText:
    """The answer to a request, and when it was written, in decoding steps."""

    request: ServingRequest
    admitted: int
    tokens: list[int] = field(default_factory=list)
    finished: int | None = None  # the step of its last token


@dataclass(frozen=True)
class ReadPrefix:
    """A beginning that many prompts share, and what each layer has computed for it."""

    ids: Int[Tensor, "S"]
    caches: Sequence[AttentionCache]


@torch.no_grad()
def read_prefix(model: nn.Module, ids: Sequence[int]) -> ReadPrefix:
    """Read a beginning once; prompts that begin with it, or with a part of it, are read from there.

    Its caches are copied for each prompt. (Engines whose caches are cut into blocks share the
    blocks instead: Kwon et al. 2023, arXiv 2309.06180.)
    """
    if not ids:
        raise ValueError("a prefix of 0 tokens holds nothing to share")
    text = torch.tensor(ids, dtype=torch.long, device=next(model.parameters()).device)
    caches = make_caches(model, model.settings.max_seq_len)
    with torch.inference_mode():
        model.hidden(text[None], caches)
    return ReadPrefix(text, caches)


@torch.no_grad()
def prefill_prompt(
    model: nn.Module, prompt: Sequence[int], prefix: ReadPrefix | None = None
) -> tuple[list[AttentionCache], Float[Tensor, "V"]]:
    """Read a prompt from where it leaves the prefix; give its caches and the next token's scores.

    The last token is read in any case, since its scores are wanted. Caches that cannot be cut, as
    V4's, serve only prompts that go on behind the whole prefix.
    """
    text = torch.tensor(prompt, dtype=torch.long, device=next(model.parameters()).device)
    caches, known = make_caches(model, model.settings.max_seq_len), 0
    if prefix is not None:
        known = min(shared_prefix_length(prefix.ids, text), len(text) - 1)
        caches = [cache.copy(known) for cache in prefix.caches]
        known = caches[0].length
    with torch.inference_mode():
        hidden = model.hidden(text[None, known:], caches)
        return caches, model.logits(hidden[:, -1:])[0, 0]


class ContinuousBatch:
    """A model that serves up to `max_rows` requests at once, greedily.

    Each step admits what has arrived and finds room, first come, first served, then decodes one
    token for every row in one pass, then retires rows that are done. A text is that of a run alone,
    whatever shares the batch with it, but for rounding where two tokens are as likely. With
    `continuous=False` a batch must end before the next begins, as without this method.
    """

    def __init__(
        self,
        model: nn.Module,
        max_rows: int,
        *,
        stop_token: int | None = None,
        prefix: ReadPrefix | None = None,
        continuous: bool = True,
    ) -> None:
        if max_rows < 1:
            raise ValueError(f"max_rows {max_rows} would serve nobody")
        if stop_token is not None:
            check_ids(torch.tensor(stop_token), model.settings.vocab_size)
        self.model, self.max_rows, self.stop_token = model, max_rows, stop_token
        self.prefix, self.continuous = prefix, continuous
        self.caches = make_row_caches(model)
        self.waiting: deque[ServingRequest] = deque()
        self.rows: list[ServedText] = []  # in the order of the cache's rows
        self.clock = 0

    def submit(self, request: ServingRequest) -> None:
        """Put a request at the end of the queue; raises ValueError if it can never be served."""
        room, prompt = self.model.settings.max_seq_len, request.prompt
        if request.max_new_tokens < 1 or not 1 <= len(prompt) <= room - request.max_new_tokens:
            lengths = f"a prompt of {len(prompt)} tokens and {request.max_new_tokens} new ones"
            raise ValueError(f"{lengths}: each at least 1, both together at most {room}")
        check_ids(torch.tensor(prompt), self.model.settings.vocab_size)
        self.waiting.append(request)

    def step(self) -> list[ServedText]:
        """Admit, decode one token for all rows, retire; give the texts that are done."""
        done = self.admit()
        if self.rows:
            self.decode()
        done += self.retire()
        self.clock += 1
        return done

    def admit(self) -> list[ServedText]:
        """Read the prompts of requests that have arrived, as far as there are free rows.

        Each gets its first token. Gives those that are done with that.
        """
        if self.rows and not self.continuous:
            return []
        joined, joining, done = [], [], []
        while (
            self.waiting
            and self.waiting[0].arrival <= self.clock
            and len(self.rows) + len(joined) < self.max_rows
        ):
            text = ServedText(self.waiting.popleft(), admitted=self.clock)
            caches, logits = prefill_prompt(self.model, text.request.prompt, self.prefix)
            self.write(text, logits)
            if text.finished is not None:
                done.append(text)
                continue
            joined.append(text)
            joining.append(caches)
        if joined:
            self.regroup(list(range(len(self.rows))), joined, joining)
        return done

    def decode(self) -> None:
        """Read the last token of every row in one pass and write the next."""
        last = torch.tensor([[text.tokens[-1]] for text in self.rows])
        last = last.to(next(self.model.parameters()).device)
        padding = torch.nn.functional.pad(self.caches[0].padding, (0, 1))
        with torch.inference_mode():
            logits = self.model(last, self.caches, padding if padding.any() else None)[:, 0]
        for text, scores in zip(self.rows, logits, strict=True):
            self.write(text, scores)

    def write(self, text: ServedText, logits: Float[Tensor, "V"]) -> None:
        """Append the best token, and note if it is the text's last."""
        token = int(checked_logits(logits[None], f"token {len(text.tokens)} of row ").argmax())
        text.tokens.append(token)
        if token == self.stop_token or len(text.tokens) == text.request.max_new_tokens:
            text.finished = self.clock

    def retire(self) -> list[ServedText]:
        """Take the rows that are done out of the batch."""
        done = [text for text in self.rows if text.finished is not None]
        if done:
            left = [i for i, text in enumerate(self.rows) if text.finished is None]
            self.regroup(left, [], [])
        return done

    def regroup(
        self, kept: list[int], joined: list[ServedText], joining: list[list[AttentionCache]]
    ) -> None:
        """Go on with these rows, and the new ones behind them."""
        with torch.inference_mode():
            for layer, cache in enumerate(self.caches):
                cache.regroup(
                    torch.tensor(kept, dtype=torch.long), [caches[layer] for caches in joining]
                )
        self.rows = [self.rows[i] for i in kept] + joined


def serve_requests(
    model: nn.Module, requests: Sequence[ServingRequest], max_rows: int, **settings
) -> list[ServedText]:
    """Serve requests in the order of their arrival; give their texts in the order of `requests`.

    The `settings` are those of `ContinuousBatch`.
    """
    batch, served = ContinuousBatch(model, max_rows, **settings), {}
    for request in sorted(requests, key=lambda request: request.arrival):
        batch.submit(request)
    while batch.waiting or batch.rows:
        for text in batch.step():
            served[id(text.request)] = text
    return [served[id(request)] for request in requests]
