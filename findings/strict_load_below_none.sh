#!/usr/bin/env bash
# torch 2.13.0: `load_state_dict(strict=True)` says nothing about keys below a submodule that is
# registered as None. A checkpoint with weights for a part that was switched off loads "strictly",
# and the weights are dropped; below any other unknown name they are an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} torch==2.13.0
"$folder/bin/python" -W ignore - <<'END'
import torch

module = torch.nn.Module()
module.head = torch.nn.Linear(2, 2)
module.register_module("extra_head", None)
weights = module.state_dict()


def loaded(name: str) -> str:
    try:
        return str(module.load_state_dict({**weights, name: torch.ones(2)}, strict=True))
    except RuntimeError as error:
        return str(error).splitlines()[-1].strip()


print("torch", torch.__version__.split("+")[0])
ignored, refused = loaded("extra_head.weight"), loaded("another_head.weight")
print("below a part that is None:", ignored)
print("below a name that is not there:", refused)
assert ignored == "<All keys matched successfully>" and "another_head.weight" in refused
END
