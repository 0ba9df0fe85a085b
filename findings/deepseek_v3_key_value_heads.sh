#!/usr/bin/env bash
# transformers 5.23.0: a DeepseekV3Config that leaves out `num_key_value_heads` gets 128 of them, the
# number of the model with 671 billion parameters, whatever `num_attention_heads` says. Llama's config
# takes the number of attention heads. So a small V3 must name both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} transformers==5.23.0
"$folder/bin/python" -W ignore - <<'END'
import transformers
from transformers import DeepseekV3Config, LlamaConfig

v3, llama = DeepseekV3Config(num_attention_heads=4), LlamaConfig(num_attention_heads=4)
print("transformers", transformers.__version__)
print("4 attention heads; key and value heads of V3:", v3.num_key_value_heads)
print("4 attention heads; key and value heads of Llama:", llama.num_key_value_heads)
assert (v3.num_key_value_heads, llama.num_key_value_heads) == (128, 4)
END
