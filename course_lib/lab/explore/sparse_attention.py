"""Figures of lesson 29: what an indexer selects, and why moving it teaches nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLUE, GREY, RED
from course_lib.layers.sparse_attention import select_top_k


@dataclass(frozen=True)
class IndexerView:
    """An indexer after some steps of training: the scores that it gives one question's tokens, and
    the recall of attention over many questions, for each number of tokens."""

    step: int
    scores: Tensor  # (tokens,)
    recalls: Sequence[float]


def selected_tokens(
    views: Sequence[IndexerView],
    top_ks: Sequence[int],
    weights: Tensor,
    needle: int,
    start: tuple[int, int],
) -> frames.Explorer:
    """Slide the training step and how many tokens are kept; see which ones the indexer selects, and
    how much of attention falls on them.

    `weights` (tokens,) are those of dense attention for the question, `needle` is the token that
    holds the answer; `views` and `top_ks` are the two sliders' places.
    """
    pictures = [
        [
            _selection(view, k, recall, weights, needle)
            for k, recall in zip(top_ks, view.recalls, strict=True)
        ]
        for view in views
    ]
    axes = {"step": [view.step for view in views], "tokens kept": list(top_ks)}
    return frames.grid(pictures, axes, start=start)


def _selection(view: IndexerView, k: int, recall: float, weights: Tensor, needle: int) -> str:
    """Draw the indexer's scores and dense attention's weights, with what is selected in colour."""
    chosen, places = select_top_k(view.scores, k), torch.arange(len(weights))
    colours = [RED if on else GREY for on in chosen.tolist()]
    fig, (top, below) = plt.subplots(2, 1, figsize=(8.6, 3.4), sharex=True)
    top.bar(places.numpy(), (view.scores - view.scores.min()).numpy(), color=colours)
    top.set(ylabel="score", yticks=[], title=f"Step {view.step}: the indexer's best {k} in red")
    below.bar(places.numpy(), weights.numpy(), color=colours)
    below.annotate("needle", (needle, weights[needle].item()), color=BLUE, ha="center", va="bottom")
    found = "is" if chosen[needle] else "is not"
    below.set(xlabel="token that the question can look back to", ylabel="attention", ylim=(0, 1.15))
    below.set_title(f"{recall:.0%} of attention caught, over all questions")
    return frames.image(
        fig,
        alt=f"After {view.step} steps of training the indexer's best {k} of {len(weights)} tokens"
        f" catch {recall:.0%} of attention over all questions; in this one the needle {found} among"
        " them.",
        dpi=80,
        colours=24,
    )
