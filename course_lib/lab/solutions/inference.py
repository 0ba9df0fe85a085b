"""Solutions of lesson 12; the notebook quotes them."""

from collections.abc import Sequence

import torch
from torch import Tensor


def decode_bound_solution(
    weight_bytes: float, cache_bytes_per_row: float, n_rows: int, bandwidth: float
) -> float:
    return n_rows * bandwidth / (weight_bytes + n_rows * cache_bytes_per_row)


def cache_bytes_solution(
    n_layers: int, n_kv_heads: int, d_head: int, n_tokens: int, bytes_per_number: int
) -> int:
    return 2 * n_layers * n_kv_heads * d_head * n_tokens * bytes_per_number


def left_pad_solution(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    width = max(len(prompt) for prompt in prompts)
    missing = [width - len(prompt) for prompt in prompts]
    ids = [[0] * n + list(prompt) for n, prompt in zip(missing, prompts, strict=True)]
    positions = torch.arange(width) - torch.tensor(missing)[:, None]
    return torch.tensor(ids), positions < 0, positions.clamp(min=0)


def admit_requests_solution(
    waiting: Sequence[tuple[int, int]], clock: int, free_rows: int, free_tokens: int
) -> int:
    admitted = 0
    for arrival, n_tokens in waiting:
        if arrival > clock or admitted == free_rows or n_tokens > free_tokens:
            break
        admitted += 1
        free_tokens -= n_tokens
    return admitted


def accept_or_resample_solution(
    p: Tensor, q: Tensor, drafted: int, accept_point: float, resample_point: float
) -> int:
    if accept_point * q[drafted] < p[drafted]:
        return drafted
    missing = (p - q).clamp(min=0)
    line = missing.cumsum(0)
    return int((line <= resample_point * line[-1]).sum())


def quantize_row_solution(row: Tensor, bits: int, group_size: int) -> tuple[Tensor, Tensor]:
    groups = row.reshape(-1, group_size)
    scales = groups.abs().amax(1) / (2 ** (bits - 1) - 1)
    codes = groups / torch.where(scales > 0, scales, 1.0)[:, None]
    return codes.round().flatten().to(torch.int8), scales
