#!/usr/bin/env bash
# transformers 5.23.0: where a config has both `rope_scaling` (the old word) and `rope_parameters`
# (the new one), the old one replaces the new one whole, without a warning: a base of 500,000 told
# in `rope_parameters` becomes the default of 10,000.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} transformers==5.23.0
"$folder/bin/python" -W ignore - <<'END'
import transformers
from transformers import LlamaConfig

both = LlamaConfig(
    rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
    rope_scaling={"rope_type": "linear", "factor": 2.0},
)
print("transformers", transformers.__version__)
print("base 500000 in rope_parameters, linear scaling in rope_scaling:", both.rope_parameters)
assert both.rope_parameters == {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
END
