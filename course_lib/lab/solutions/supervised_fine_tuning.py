"""Solutions of lesson 22's exercises, quoted in its notebook."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def answer_targets_solution(
    pieces: Sequence[tuple[list[int], bool]],
) -> tuple[list[int], list[int]]:
    tokens = [token for piece, _ in pieces for token in piece]
    targets = [token if learn else -100 for piece, learn in pieces for token in piece]
    return tokens[:-1], targets[1:]


def answer_loss_solution(logits: Tensor, targets: Tensor) -> Tensor:
    counts = targets != -100
    wanted = targets.where(counts, 0)
    surprise = -logits.log_softmax(-1).gather(-1, wanted[..., None])[..., 0]
    return (surprise * counts).sum() / counts.sum().clamp(min=1)


def packed_mask_solution(examples: Tensor) -> Tensor:
    same = examples[:, :, None] == examples[:, None, :]
    return same.tril()


def lora_output_solution(x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    return x @ W.T + alpha / len(A) * (x @ A.T) @ B.T


def best_low_rank_solution(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    U, S, Vh = torch.linalg.svd(change, full_matrices=False)
    return Vh[:rank], U[:, :rank] * S[:rank]


def combine_losses_solution(means: Sequence[float], counts: Sequence[int]) -> float:
    total = sum(mean * count for mean, count in zip(means, counts, strict=True) if count)
    return total / sum(counts)


def keep_answers_solution(
    questions: Sequence[str],
    answers: Sequence[Sequence[str]],
    is_good: Callable[[str, str], bool],
    most: int,
) -> list[tuple[str, str]]:
    kept = []
    for question, texts in zip(questions, answers, strict=True):
        good = [text for text in dict.fromkeys(texts) if is_good(question, text)]
        kept += [(question, text) for text in good[:most]]
    return kept
