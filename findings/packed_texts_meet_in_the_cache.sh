#!/usr/bin/env bash
# transformers 5.23.0 (with torch 2.13.0): texts packed into one row, with positions that start anew,
# are kept apart by every attention, "eager" and "sdpa" too; so the collator for it returns
# input_ids, labels and position_ids, and no mask. But the positions are looked at only if no cache
# is made, and `model(**batch)` makes one unless it is told not to, in training mode too. Then each
# text attends to those before it. A mask of ones does the same. No warning, and the loss falls.
# Trainer and TRL switch the cache off; a loop of one's own does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} torch==2.13.0 transformers==5.23.0
"$folder/bin/python" -W ignore - <<'END'
import torch
import transformers
from transformers import DataCollatorWithFlattening, LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=2, initializer_range=0.2,
)).train()
first, second = torch.randint(64, (2, 16)).tolist()
batch = DataCollatorWithFlattening()([{"input_ids": first}, {"input_ids": second}])
alone = model(torch.tensor([second])).logits


def gap(**told) -> float:
    return (model(**batch, **told).logits[:, 16:] - alone).abs().max().item()


print("transformers", transformers.__version__, "the batch holds", *batch)
for kind in ("eager", "sdpa"):
    model.set_attn_implementation(kind)
    apart, plain = gap(use_cache=False), gap()
    masked = gap(use_cache=False, attention_mask=torch.ones_like(batch["input_ids"]))
    print(f"{kind:5} logits of the second text, packed and alone, differ by {apart:.6f} with use_cache=False,")
    print(f"      by {plain:.3f} with nothing told, by {masked:.3f} with use_cache=False and a mask of ones")
    assert apart < 1e-4 and plain > 0.1 and masked > 0.1, "this has changed"
END
