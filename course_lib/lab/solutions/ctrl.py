"""Solutions of lesson 17; the notebook quotes them."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor


def coded_batch_solution(
    pages: Sequence[Sequence[int]], codes: Sequence[int], end: int, pad: int
) -> tuple[Tensor, Tensor]:
    longest = max(map(len, pages))
    inputs, targets = [], []
    for page, code in zip(pages, codes, strict=True):
        missing = longest - len(page)
        inputs.append([code, *page] + [pad] * missing)
        targets.append([*page, end] + [-100] * missing)
    return torch.tensor(inputs), torch.tensor(targets)


def halved_sinusoids_solution(n: int, width: int) -> Tensor:
    rates = 10_000 ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(n)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def code_posterior_solution(log_likelihoods: Tensor, prior: Tensor) -> Tensor:
    return (log_likelihoods + prior.log()).softmax(-1)


def known_part_log_probs_solution(log_likelihoods: Tensor, prior: Tensor, agrees: Tensor) -> Tensor:
    log_weights = (prior[agrees] / prior[agrees].sum()).log()
    return (log_likelihoods[:, agrees] + log_weights).logsumexp(-1)


def penalised_logits_solution(
    logits: Tensor, said: Sequence[int], penalty: float, spared: Collection[int]
) -> Tensor:
    lowered = logits.clone()
    for token in set(said) - set(spared):
        score = logits[token]
        lowered[token] = score / penalty if score > 0 else score * penalty
    return lowered


def continuation_log_prob_solution(logits: Tensor, ids: Tensor, start: int) -> Tensor:
    log_probs = logits.log_softmax(-1)
    return log_probs[torch.arange(start - 1, len(ids) - 1), ids[start:]].sum()
