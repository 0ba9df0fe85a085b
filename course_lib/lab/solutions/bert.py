"""Solutions of lesson 14, as its notebook quotes them."""

import torch
from torch import Tensor


def corrupt_tokens_solution(
    ids: Tensor, chosen: Tensor, dice: Tensor, others: Tensor, mask_token: int
) -> Tensor:
    changed = torch.where(dice < 0.8, mask_token, others)
    kept = (dice >= 0.8) & (dice < 0.9)
    return torch.where(chosen & ~kept, changed, ids)


def hidden_loss_solution(logits: Tensor, targets: Tensor) -> Tensor:
    hidden = targets != -100
    log_probs = logits[hidden].log_softmax(-1)
    return -log_probs.gather(1, targets[hidden][:, None]).mean()


def pair_row_solution(
    document: list[list[int]],
    cut: int,
    other: list[list[int]] | None,
    cls_token: int,
    sep_token: int,
) -> tuple[list[int], list[int], int]:
    rest = document[cut:] if other is None else other
    first = [cls_token, *(token for sentence in document[:cut] for token in sentence), sep_token]
    second = [*(token for sentence in rest for token in sentence), sep_token]
    return first + second, [0] * len(first) + [1] * len(second), int(other is not None)


def token_positions_solution(ids: Tensor, pad_token: int) -> Tensor:
    real = (ids != pad_token).long()
    return real.cumsum(1) * real + pad_token


def cut_word_solution(word: str, pieces: set[str]) -> list[str]:
    found, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = range(len(word), start, -1)
        fitting = [end for end in ends if prefix + word[start:end] in pieces]
        if not fitting:
            return ["[UNK]"]
        found.append(prefix + word[start : fitting[0]])
        start = fitting[0]
    return found


def mean_pooling_solution(hidden: Tensor, padding: Tensor) -> Tensor:
    real = (~padding).float()[..., None]
    return (hidden * real).sum(1) / real.sum(1)
