"""Sample many completions at once, with their probabilities, for reinforcement learning.

It spends most of its time here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.inference.cache import make_caches, make_prefix_caches
from course_lib.inference.generate import (
    apply_temperature,
    check_sampling,
    checked_logits,
    next_token_probs,
    random_points,
)
from course_lib.inference.tool_use import Tool, ToolCall, force_tool_tokens
from course_lib.layers.embedding import check_ids
from course_lib.layers.moe import last_choices, replayed_routing, text_moe_layers
from course_lib.layers.precision import at_least_float32
from course_lib.text.batches import pad_rows

# the share of a batch that must still be writing; below it, copying the others out of the way pays
MIN_WRITING_SHARE = 0.75


@dataclass(frozen=True)
class Completions:
    """Sampled completions as one table: prompts end in one column, completions begin in the next.

    Padding is on the left and on the right; a completion has up to `T` tokens.
    """

    ids: Int[Tensor, "B S"]  # prompt and completion; 0 where padding
    padding: Bool[Tensor, "B S"]  # True where there is no token, on either side
    # of the last T columns: True on tokens, the stop token included
    completion_mask: Bool[Tensor, "B T"]
    log_probs: Float[Tensor, "B T"]  # see `sample_completions`; 0 where padding or a tool's
    finished: Bool[Tensor, "B"]  # said the stop token
    tool_mask: Bool[Tensor, "B T"] | None = None  # True on tokens that a tool wrote
    kept: Bool[Tensor, "B T V"] | None = None  # the tokens that the sampler's filters left
    chosen: Int[Tensor, "B S L K"] | None = None  # each token's experts; of the last one none

    def __post_init__(self) -> None:
        if self.tool_mask is None:
            object.__setattr__(self, "tool_mask", torch.zeros_like(self.completion_mask))

    @property
    def loss_mask(self) -> Bool[Tensor, "B T"]:
        """Mark the tokens that the model chose: what a loss may read."""
        return self.completion_mask & ~self.tool_mask

    @property
    def lengths(self) -> Int[Tensor, "B"]:
        """Count the tokens of each completion, the stop token and a tool's included."""
        return self.completion_mask.sum(-1)

    @property
    def prompts(self) -> list[list[int]]:
        """Give each row's prompt without padding."""
        start = self.ids.shape[1] - self.completion_mask.shape[1]
        return [
            row[~pad].tolist()
            for row, pad in zip(self.ids[:, :start], self.padding[:, :start], strict=True)
        ]

    @property
    def completions(self) -> list[list[int]]:
        """Give each row's completion without padding, the stop token included."""
        start = self.ids.shape[1] - self.completion_mask.shape[1]
        return [
            row[mask].tolist()
            for row, mask in zip(self.ids[:, start:], self.completion_mask, strict=True)
        ]

    def rows(self, chosen: Int[Tensor, "K"]) -> "Completions":
        """Give some of the rows, without the columns that are padding in all of them."""
        mask = self.completion_mask[chosen]
        start = self.ids.shape[1] - self.completion_mask.shape[1]
        first = int(self.padding[chosen, :start].sum(-1).min())
        T = int(mask.sum(-1).max())
        ids, padding = (table[chosen, first : start + T] for table in (self.ids, self.padding))
        return Completions(
            ids,
            padding,
            mask[:, :T],
            self.log_probs[chosen, :T],
            self.finished[chosen],
            self.tool_mask[chosen, :T],
            None if self.kept is None else self.kept[chosen, :T],
            None if self.chosen is None else self.chosen[chosen, first : start + T],
        )


def join_completions(parts: Sequence[Completions]) -> Completions:
    """Put the rows of several tables below one another: all prompts end in one column.

    >>> def one(prompt, answer):
    ...     ids, n = torch.tensor([prompt + answer]), len(answer)
    ...     real = torch.ones(1, n, dtype=torch.bool)
    ...     return Completions(ids, ids == 0, real, torch.zeros(1, n), real[:, -1])
    >>> join_completions([one([5], [6, 7]), one([1, 2, 3], [4])]).ids
    tensor([[0, 0, 5, 6, 7],
            [1, 2, 3, 4, 0]])
    """
    T = max(part.completion_mask.shape[1] for part in parts)
    P = max(part.ids.shape[1] - part.completion_mask.shape[1] for part in parts)

    def widen(part: Completions) -> Completions:
        behind = T - part.completion_mask.shape[1]
        both = (P + T - behind - part.ids.shape[1], behind)
        return Completions(
            nn.functional.pad(part.ids, both),
            nn.functional.pad(part.padding, both, value=True),
            nn.functional.pad(part.completion_mask, (0, behind)),
            nn.functional.pad(part.log_probs, (0, behind)),
            part.finished,
            nn.functional.pad(part.tool_mask, (0, behind)),
            None
            if part.kept is None
            else nn.functional.pad(part.kept, (0, 0, 0, behind), value=True),
            None if part.chosen is None else nn.functional.pad(part.chosen, (0, 0, 0, 0, *both)),
        )

    wide = [widen(part) for part in parts]
    columns = {name: [getattr(part, name) for part in wide] for name in vars(wide[0])}
    return Completions(
        **{name: None if rows[0] is None else torch.cat(rows) for name, rows in columns.items()}
    )


@torch.no_grad()
def sample_completions(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    n_samples: int = 1,
    stop_token: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
    tool: Tool | None = None,
    keep_mask: bool = False,
    keep_routing: bool = False,
) -> Completions:
    """Continue every prompt `n_samples` times, to a `stop_token` or `max_new_tokens` new tokens.

    The rows of one prompt stand together. Each prompt is read once, whatever `n_samples`; rows that
    are done leave the batch. Every row has its own random numbers from the start, so that its text
    does not depend on when others end.

    `log_probs` are the model's at this temperature (for 0, greedy: at 1), before `top_k`, `top_p`
    and `min_p` rule tokens out: those of `completion_log_probs`, in float32 at least. With
    `keep_mask` they are of what the filters leave, by its sum, and the completions keep which
    tokens that were. With `keep_routing` they keep each token's experts. `completion_log_probs`
    then reads them under the same mask and through the same experts (DeepSeek-V3.2, arXiv
    2512.02556, section 3.1).

    With a `tool`, its answers stand behind the calls, see `tool_use`; their tokens count among
    `max_new_tokens`, which may cut an answer off. Raises a ValueError for a request that cannot be
    met, and for a model whose scores choose no token.
    """
    check_sampling(temperature, top_k, top_p, min_p)
    if keep_mask and tool is not None and not tool.masked:
        raise ValueError(
            "keep_mask True: what a tool writes is no choice, so its tokens need masks"
        )
    check_rollout_request(model.settings, prompts, max_new_tokens, n_samples, stop_token)
    device = next(model.parameters()).device
    ids, real = (table.to(device) for table in pad_rows(prompts, pad_token=0, side="left"))
    texts = RolloutState(model, ids, ~real, max_new_tokens, keep_routing)
    texts.keep(torch.arange(len(prompts), device=device).repeat_interleave(n_samples))
    # rows of the result that are still being written
    rows = torch.arange(len(prompts) * n_samples, device=device)
    points = random_points((max_new_tokens, len(rows)), generator).to(device)
    tokens = torch.zeros_like(points, dtype=torch.long)
    probs = torch.ones_like(points, dtype=texts.logits.dtype)
    going = torch.ones_like(rows, dtype=torch.bool)
    calls = None if tool is None else [ToolCall(tool) for _ in range(len(rows))]
    by_tool = torch.zeros_like(tokens, dtype=torch.bool)
    kept, chosen = None, None
    if keep_mask:
        shape = (*tokens.shape, texts.logits.shape[-1])
        kept = torch.ones(shape, dtype=torch.bool, device=device)
    if keep_routing:
        chosen = nn.functional.pad(texts.chosen, (0, 0, 0, 0, 0, max_new_tokens))
    for step in range(max_new_tokens):
        logits = checked_logits(texts.logits, f"new token {step} of row ", rows)
        policy, left = policy_and_filtered_probs(logits, temperature, top_k, top_p, min_p)
        if keep_mask:
            policy, kept[step, rows] = left, left > 0
        token = draw_by_points(left, points[step, rows])
        if calls is not None:
            token, by_tool[step, rows] = force_tool_tokens(calls, rows, token)
        tokens[step, rows] = token
        probs[step, rows] = policy.gather(-1, token[:, None])[:, 0]
        if stop_token is not None:
            going &= token != stop_token
        if step + 1 == max_new_tokens or not going.any():
            break
        if going.float().mean() < MIN_WRITING_SHARE:
            texts.keep(going)
            rows, token, going = rows[going], token[going], going[going]
        texts.read(token[:, None])
        if keep_routing:
            chosen[rows, ids.shape[1] + step] = texts.chosen[:, 0]
    tool_mask = by_tool.T & (tool is not None and tool.masked)
    log_probs = probs.T.log().masked_fill(tool_mask, 0.0)
    made = collect_completions(ids, ~real, tokens.T, log_probs, tool_mask, stop_token)
    T, S = made.completion_mask.shape[1], made.ids.shape[1]
    if keep_mask:  # behind its end a row has chosen nothing: nothing is ruled out there
        kept = kept[:T].transpose(0, 1) | ~made.completion_mask[..., None]
    return replace(made, kept=kept, chosen=chosen[:, :S] if keep_routing else None)


class RolloutState:
    """Texts that a model reads side by side: `logits` are the scores of the next token of each.

    With `keep_routing`, `chosen` are the experts of the tokens that were read last.
    """

    def __init__(
        self,
        model: nn.Module,
        ids: Int[Tensor, "B T"],
        padding: Bool[Tensor, "B T"],
        max_new_tokens: int,
        keep_routing: bool = False,
    ) -> None:
        self.model = model
        self.layers = text_moe_layers(model) if keep_routing else []
        self.chosen: Int[Tensor, "B T L K"] | None = None
        self.caches = make_caches(model, ids.shape[1] + max_new_tokens)
        self.padding = nn.functional.pad(padding, (0, max_new_tokens)) if padding.any() else None
        self.read(ids)

    def read(self, ids: Int[Tensor, "B T"]) -> None:
        """Go on by the next tokens of each text."""
        seen = self.padding
        if seen is not None:
            seen = seen[:, : self.caches[0].length + ids.shape[1]]
        with torch.inference_mode():  # no_grad with less to do for each operation
            hidden = self.model.hidden(ids, self.caches, seen)
            self.logits = at_least_float32(self.model.logits(hidden[:, -1:])[:, 0])
            self.chosen = last_choices(self.layers) if self.layers else None

    def keep(self, rows: Int[Tensor, "K"] | Bool[Tensor, "B"]) -> None:
        """Go on with these texts alone; one named twice is doubled."""
        for cache in self.caches:
            cache.keep(rows)
        self.logits = self.logits[rows]
        self.chosen = None if self.chosen is None else self.chosen[rows]
        self.padding = None if self.padding is None else self.padding[rows]


def policy_and_filtered_probs(
    logits: Float[Tensor, "B V"],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
) -> tuple[Float[Tensor, "B V"], Float[Tensor, "B V"]]:
    """Give the probabilities at this temperature (for 0: at 1), and what the filters leave."""
    scaled = logits if temperature in (0, 1) else apply_temperature(logits, temperature)
    policy = scaled.softmax(-1)
    if temperature and top_k is None and top_p is None and min_p is None:
        return policy, policy
    return policy, next_token_probs(logits, temperature, top_k, top_p, min_p)


def draw_by_points(probs: Float[Tensor, "B V"], points: Float[Tensor, "B"]) -> Int[Tensor, "B"]:
    """Lay each row's probabilities end to end and name the token where its point falls.

    The points are from [0, 1). One random number per row, where noise on every score would need
    `V`. A token of probability 0 has no stretch.

    >>> probs = torch.tensor([0.5, 0.0, 0.25, 0.25]).expand(4, 4)
    >>> draw_by_points(probs, torch.tensor([0.0, 0.49, 0.5, 0.99]))
    tensor([0, 0, 2, 3])
    """
    line = probs.cumsum(-1)
    end = line[:, -1:]
    if not end.min() > 0:
        raise ValueError("the probabilities are NaN or all 0: no token can be drawn")
    return torch.searchsorted(line, points[:, None] * end, right=True)[:, 0]


def collect_completions(
    ids: Int[Tensor, "Q P"],
    padding: Bool[Tensor, "Q P"],
    tokens: Int[Tensor, "B T"],
    log_probs: Float[Tensor, "B T"],
    tool_mask: Bool[Tensor, "B T"],
    stop_token: int | None,
) -> Completions:
    """Cut the completions after their stop tokens and put them behind their repeated prompts."""
    stops = tokens == (-1 if stop_token is None else stop_token)
    mask = stops.cumsum(-1) - stops.long() == 0
    mask = mask[:, : mask.sum(-1).max()]
    T = mask.shape[1]
    ids, padding = (
        part.repeat_interleave(len(tokens) // len(ids), dim=0) for part in (ids, padding)
    )
    return Completions(
        ids=torch.cat([ids, tokens[:, :T] * mask], dim=1),
        padding=torch.cat([padding, ~mask], dim=1),
        completion_mask=mask,
        log_probs=log_probs[:, :T] * mask,
        finished=(stops[:, :T] & mask).any(-1),
        tool_mask=tool_mask[:, :T] & mask,
    )


def token_log_probs(
    logits: Float[Tensor, "B T V"], ids: Int[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Give each token's log-probability, in nats, from a model's scores of all tokens there.

    >>> token_log_probs(torch.tensor([[[0.75, 0.25]]]).log(), torch.tensor([[1]]))      # log 1/4
    tensor([[-1.3863]])
    """
    return logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]


def token_entropies(logits: Float[Tensor, "B T V"]) -> Float[Tensor, "B T"]:
    """Give the entropy, in nats, of what a model expects at each place.

    It is 0 if the model is sure, log V if it knows nothing. With gradients. A token whose score is
    -inf adds nothing, to the entropy or to a gradient.

    >>> token_entropies(torch.tensor([[[0.5, 0.5], [1.0, 0.0]]]).log())        # log 2 and 0
    tensor([[0.6931, 0.0000]])
    """
    log_probs = logits.log_softmax(-1)
    surprises = -log_probs.masked_fill(log_probs == -torch.inf, 0.0)  # 0 log 0 is 0, not NaN
    return (log_probs.exp() * surprises).sum(-1)


def completion_log_probs(
    model: nn.Module, completions: Completions, temperature: float = 1.0
) -> Float[Tensor, "B T"]:
    """Read whole completions in one pass, with gradients: the log-probability of each token.

    It is 0 where padding, and where a tool wrote. In float32 at least: in bfloat16 a policy ratio
    of 1.002 would be 1. Where the completions keep what the sampler's filters left, all else has
    probability 0; where they keep each token's experts, it is sent to these.
    """
    logits = at_least_float32(model.logits(completion_hidden(model, completions)))
    if temperature not in (0, 1):
        logits = logits / temperature
    if completions.kept is not None:
        logits = logits.masked_fill(~completions.kept, -torch.inf)
    T = completions.completion_mask.shape[1]
    chosen = token_log_probs(logits, completions.ids[:, -T:])
    return torch.where(completions.loss_mask, chosen, 0.0)


def completion_hidden(model: nn.Module, completions: Completions) -> Float[Tensor, "B T *n C"]:
    """Give what stands in a model's stream (V4: `n` of them) in front of each completion's tokens.

    A prompt that several of them share is read once, and its gradients are added up; not so where
    experts are replayed, which a context manager sets for whole rows.
    """
    T = completions.completion_mask.shape[1]
    start, ids = completions.ids.shape[1] - T, completions.ids[:, :-1]
    left = completions.padding[:, :start]
    # no token looks to its right, so the padding there needs no mask
    padding = completions.padding[:, :-1] if left.any() else None
    if completions.chosen is not None:
        with replayed_routing(model, completions.chosen[:, :-1]):
            return model.hidden(ids, padding=padding)[:, -T:]
    marked = ids[:, :start].masked_fill(left, -1)
    prompts, rows = marked.unique(dim=0, return_inverse=True)
    if len(prompts) == len(ids):
        return model.hidden(ids, padding=padding)[:, -T:]
    caches = make_prefix_caches(model)
    begun = model.hidden(prompts.clamp(min=0), caches, None if padding is None else prompts < 0)
    for cache in caches:
        cache.keep(rows)
    last = begun[rows, -1:]
    return last if T == 1 else torch.cat([last, model.hidden(ids[:, start:], caches, padding)], 1)


def check_rollout_request(
    settings,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    n_samples: int,
    stop_token: int | None,
) -> None:
    """Raise a ValueError that names the numbers if the model cannot do what is asked for."""
    if not prompts or n_samples < 1 or max_new_tokens < 1:
        numbers = f"{len(prompts)} prompts, n_samples {n_samples}, max_new_tokens {max_new_tokens}"
        raise ValueError(f"{numbers}: each must be at least 1")
    if stop_token is not None:
        check_ids(torch.tensor(stop_token), settings.vocab_size)
    for row, prompt in enumerate(prompts):
        if not 1 <= len(prompt) <= settings.max_seq_len - max_new_tokens:
            lengths = f"prompt {row} has {len(prompt)} tokens and is to get {max_new_tokens} more"
            raise ValueError(
                f"{lengths}: it must have at least 1, both together at most {settings.max_seq_len}"
            )
