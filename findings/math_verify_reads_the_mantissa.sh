#!/usr/bin/env bash
# math-verify 0.9.0: a number as Python and JSON write it, 1e-05, is read up to the e. Where the
# known answer is a float that went through str(), every right answer is refused, 0.00001 and
# $10^{-5}$ alike, and the reward of that question stays at 0. Only the size of the number decides:
# 0.0001 is written without an e, and works. Within dollars the e is Euler's number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} math-verify==0.9.0
"$folder/bin/python" -W ignore - <<'END'
from importlib.metadata import version

from math_verify import parse, verify

print("math-verify", version("math-verify"))
for value, plain, power in (
    (0.0001, "0.0001", "$10^{-4}$"),
    (0.00001, "0.00001", "$10^{-5}$"),
    (2.5e-7, "0.00000025", r"$2.5 \times 10^{-7}$"),
    (1e16, "10000000000000000", "$10^{16}$"),
):
    gold = parse(str(value))
    verdicts = [verify(gold, parse(answer)) for answer in (plain, power)]
    print(f"known answer {str(value):7} is read as {gold[0]}; {plain} and {power} are right:", *verdicts)
    assert verdicts == [value == 0.0001] * 2, "this has changed"
print("within dollars:", parse("$1e-05$"))
END
