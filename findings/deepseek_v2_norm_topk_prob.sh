#!/usr/bin/env bash
# transformers 5.23.0 (with torch 2.13.0): DeepseekV2ForCausalLM never reads `norm_topk_prob`. The gate weights of the
# chosen experts are not normalised to a sum of 1, whether the config says True or False; the logits
# of both are equal to the bit. (DeepSeek's own modelling file reads it.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} torch==2.13.0 transformers==5.23.0
"$folder/bin/python" -W ignore - <<'END'
import torch
import transformers
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM

sizes = dict(
    vocab_size=32, hidden_size=16, intermediate_size=24, moe_intermediate_size=8,
    num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, kv_lora_rank=8,
    q_lora_rank=None, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=4, n_routed_experts=4,
    num_experts_per_tok=2, n_shared_experts=1, first_k_dense_replace=1, topk_method="greedy",
    n_group=1, topk_group=1,
)


def logits(norm: bool) -> torch.Tensor:
    torch.manual_seed(0)
    model = DeepseekV2ForCausalLM(DeepseekV2Config(**sizes, norm_topk_prob=norm)).eval()
    with torch.no_grad():
        return model(torch.arange(6)[None]).logits


print("transformers", transformers.__version__)
equal = torch.equal(logits(True), logits(False))
print("logits with and without norm_topk_prob are equal:", equal)
assert equal
END
