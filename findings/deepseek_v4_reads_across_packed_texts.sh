#!/usr/bin/env bash
# transformers 5.23.0 (with torch 2.13.0): texts packed into one row, with positions that start anew,
# stay apart in V4's layers of a sliding window, as in V3, if no cache is made. In V4's compressed
# layers they do not. An entry stands for some neighbouring places of the row, and a token at
# position t of its own text may read the row's first (t + 1) // rate entries: those of the first
# text, whoever asks. So a later text learns from summaries of a stranger and hardly from its own.
# No warning, although the collator for packing tells texts apart by positions alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} torch==2.13.0 transformers==5.23.0
"$folder/bin/python" -W ignore - <<'END'
import torch
import transformers
from transformers import DeepseekV4Config, DeepseekV4ForCausalLM

sizes = dict(
    vocab_size=64, hidden_size=32, moe_intermediate_size=16, num_hidden_layers=1,
    num_attention_heads=2, head_dim=16, q_lora_rank=16, partial_rotary_factor=0.5, o_groups=2,
    o_lora_rank=8, index_n_heads=2, index_head_dim=16, index_topk=8, n_routed_experts=4,
    num_experts_per_tok=2, sliding_window=4, mlp_layer_types=["moe"], initializer_range=0.2,
    compress_rates={"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
)
places = torch.cat([torch.arange(16), torch.arange(24)])[None]
first, other, second = (torch.randint(64, (1, size)) for size in (16, 16, 24))
print("transformers", transformers.__version__)
for kind in ("sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"):
    torch.manual_seed(0)
    model = DeepseekV4ForCausalLM(DeepseekV4Config(**sizes, layer_types=[kind])).eval()

    def packed(text):
        row = torch.cat([text, second], dim=1)
        return model(row, position_ids=places, use_cache=False).logits[:, 16:]

    with torch.no_grad():
        alone = (packed(first) - model(second, use_cache=False).logits).abs().max().item()
        swapped = (packed(first) - packed(other)).abs().max().item()
    print(f"{kind:28} the second text differs from itself alone by {alone:.6f},", end=" ")
    print(f"with another text before it by {swapped:.6f}")
    if kind == "sliding_attention":
        assert alone < 1e-4 and swapped < 1e-4
    else:
        assert alone > 0.1 and swapped > 0.1, "this has changed"
END
