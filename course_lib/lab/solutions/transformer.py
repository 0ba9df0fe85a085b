"""Solutions of lesson 08; the notebook quotes them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.models.gpt2 import GPT2


def transformer_block_solution(x: Tensor, norm_1, attention, norm_2, mlp) -> Tensor:
    x = x + attention(norm_1(x))
    return x + mlp(norm_2(x))


def init_weights_solution(model: GPT2) -> None:
    n_writes = 2 * model.settings.n_layers
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            writes = name.endswith(("attention.out.weight", "mlp.down.weight"))
            nn.init.normal_(parameter, std=0.02 / n_writes**0.5 if writes else 0.02)


def n_parameters_solution(V: int, T: int, C: int, L: int) -> int:
    return V * C + T * C + L * (12 * C**2 + 13 * C) + 2 * C


NAMES = {
    "wte": "token_embedding",
    "wpe": "position_embedding",
    "ln_f": "norm",
    "h.": "blocks.",
    "ln_": "norm_",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "mlp.c_fc": "mlp.up",
    "mlp.c_proj": "mlp.down",
}


def from_hf_solution(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    ours = {}
    for name, tensor in theirs.items():
        if name != "lm_head.weight":
            name = name.removeprefix("transformer.")
            for old, new in NAMES.items():
                name = name.replace(old, new)
            ours[name] = tensor.T if "blocks" in name and tensor.ndim == 2 else tensor
    return ours


def overfit_batch_solution(model: nn.Module, rows: Tensor, steps: int, lr: float) -> list[float]:
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        logits = model(rows[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
