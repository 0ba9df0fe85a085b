#!/usr/bin/env bash
# transformers 5.23.0 (with torch 2.13.0): YaRN's ramp between kept and stretched rotary frequencies turns round when its
# two ends change places. They are cut to the range of pairs, the lower end from below alone, the
# upper one from above alone. With a small base and a long original context the lower end lies
# beyond the last pair; then the pairs in front, which turn fastest and are to stay, are divided by
# the factor, all of them. No error, no warning: one would expect all pairs to be kept.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} transformers==5.23.0 torch==2.13.0
"$folder/bin/python" -W ignore - <<'END'
import transformers
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

def frequencies(base, trained, factor):
    yarn = {"rope_type": "yarn", "rope_theta": base, "factor": factor,
            "original_max_position_embeddings": trained}
    config = LlamaConfig(hidden_size=8, num_attention_heads=1, head_dim=8,
                         max_position_embeddings=int(trained * factor), rope_parameters=yarn)
    found, _ = ROPE_INIT_FUNCTIONS["yarn"](config, None)
    return [round(float(base ** (-2 * i / 8) / found[i]), 3) for i in range(4)]

print("transformers", transformers.__version__)
print("divided by, base 10,000, 4,096 tokens:", usual := frequencies(10_000.0, 4096, 4.0))
print("divided by, base 10, 1,000,000 tokens:", turned := frequencies(10.0, 1_000_000, 4.0))
assert usual[0] == 1.0, "the fastest pair stays"
assert turned == [4.0] * 4, "this has changed: all pairs turn often, none should be divided"
END
