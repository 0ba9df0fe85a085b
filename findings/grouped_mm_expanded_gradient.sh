#!/usr/bin/env bash
# torch 2.13.0, CPU: the backward pass of torch.nn.functional.grouped_mm raises where the incoming
# gradient is expanded, as that of `.sum()` is: its strides are 0. A loss that squares first has a
# gradient of full size, and passes. So a test that calls `.sum().backward()` on experts' outputs
# fails where training does not; `.contiguous()` on the gradient cures it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} torch==2.13.0
"$folder/bin/python" -W ignore - <<'END'
import torch
import torch.nn.functional as F

print("torch", torch.__version__.split("+")[0])
ends = torch.tensor([3, 8], dtype=torch.int32)


def backward(loss) -> str:
    x = torch.randn(8, 16, requires_grad=True)
    weights = torch.randn(2, 16, 16, requires_grad=True)
    try:
        loss(F.grouped_mm(x, weights, offs=ends)).backward()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return "passes"


summed, squared = backward(lambda y: y.sum()), backward(lambda y: (y * y).sum())
print("sum:", summed)
print("sum of squares:", squared)
assert "strides" in summed and squared == "passes"
END
