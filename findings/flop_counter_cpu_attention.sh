#!/usr/bin/env bash
# torch 2.13.0: FlopCounterMode counts nothing for scaled_dot_product_attention on the CPU. The fused
# kernel has no formula there, and is left out without a word; with the plain kernel (SDPBackend.MATH)
# the same call is counted. A transformer's count is too low by its attention.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} torch==2.13.0
"$folder/bin/python" -W ignore - <<'END'
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

B, H, T, D = 2, 3, 64, 16
q = torch.randn(B, H, T, D)
with FlopCounterMode(display=False) as fused:
    F.scaled_dot_product_attention(q, q, q, is_causal=True)
with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as plain:
    F.scaled_dot_product_attention(q, q, q, is_causal=True)
print("torch", torch.__version__)
print("fused:", fused.get_total_flops(), " plain:", plain.get_total_flops(), " 4 B H T T D:", 4 * B * H * T * T * D)
assert fused.get_total_flops() == 0
assert plain.get_total_flops() == 4 * B * H * T * T * D
END
