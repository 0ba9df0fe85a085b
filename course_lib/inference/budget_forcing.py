"""Budget forcing: keep a model from ending its thought, and see what it does with the tokens.

Where the thought would end, other tokens are put in place of the end, and the model goes on from
them. Source: Muennighoff et al. 2025 (s1, arXiv 2501.19393), section 3.1, which puts in "Wait".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from course_lib.inference.rollout import RolloutState, check_rollout_request, draw_by_points
from course_lib.text.batches import pad_rows


@dataclass
class ForcedThought:
    """A text that is being written, and how often its thought may yet not end."""

    end_of_thought: int
    instead: Sequence[int]
    times: int
    ends_well: Callable[[Sequence[int]], bool] = lambda written: False
    written: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # put in, but not yet read by the model

    def write(self, drawn: int) -> int:
        """Write the token that the model has drawn, or another in its place; say which.

        >>> thought = ForcedThought(end_of_thought=9, instead=[5, 6], times=1)
        >>> [thought.write(drawn) for drawn in (1, 9, 2, 3, 9)]
        [1, 5, 6, 3, 9]
        """
        if drawn == self.end_of_thought and not self.waiting and self.times:
            if not self.ends_well(self.written):
                self.times, self.waiting = self.times - 1, [*self.instead]
        token = self.waiting.pop(0) if self.waiting else drawn
        self.written.append(token)
        return token


@torch.no_grad()
def sample_forced(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    end_of_thought: int,
    instead: Sequence[int],
    times: int,
    *,
    stop_token: int,
    ends_well: Callable[[Sequence[int]], bool] = lambda written: False,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """Continue each prompt at temperature 1; `instead` stands for its first ends of thought.

    So often as `times` says, but for a thought that `ends_well`. The completions hold the stop
    token, if it came, and what was put in, which counts towards `max_new_tokens`. Raises ValueError
    for `times` below 0 and for nothing to put in.
    """
    if times < 0 or not instead:
        raise ValueError(
            f"times {times} must be from 0, and {len(instead)} tokens to put in from 1"
        )
    check_rollout_request(model.settings, prompts, max_new_tokens, 1, stop_token)
    ids, real = pad_rows(prompts, pad_token=0, side="left")
    state = RolloutState(model, ids, ~real, max_new_tokens)
    texts = [ForcedThought(end_of_thought, instead, times, ends_well) for _ in prompts]
    for step in range(max_new_tokens):
        points = torch.rand(len(texts), generator=generator)
        drawn = draw_by_points(state.logits.softmax(-1), points).tolist()
        tokens = [
            text.write(token) if stop_token not in text.written[-1:] else stop_token
            for text, token in zip(texts, drawn, strict=True)
        ]
        if step + 1 == max_new_tokens or all(stop_token in text.written[-1:] for text in texts):
            break
        state.read(torch.tensor(tokens)[:, None])
    return [text.written for text in texts]
