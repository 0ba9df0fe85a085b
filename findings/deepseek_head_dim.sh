#!/usr/bin/env bash
# transformers 5.23.0: DeepseekV2Config overwrites a given `head_dim` by `qk_rope_head_dim`;
# DeepseekV3Config keeps what is given. So the same line of a config.json means something in one
# and nothing in the other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} transformers==5.23.0
"$folder/bin/python" -W ignore - <<'END'
import transformers
from transformers import DeepseekV2Config, DeepseekV3Config

told = dict(num_attention_heads=4, head_dim=24, qk_rope_head_dim=16)
v2, v3 = DeepseekV2Config(**told).head_dim, DeepseekV3Config(**told).head_dim
print("transformers", transformers.__version__)
print("head_dim 24 and qk_rope_head_dim 16 are told; head_dim of V2:", v2, " of V3:", v3)
assert (v2, v3) == (16, 24)
END
