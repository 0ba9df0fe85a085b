#!/usr/bin/env bash
# math-verify 0.9.0: with R1's layout, <think>...</think><answer>12</answer>, parse() does not see the
# answer (a number must stand behind a blank or a sign) and reads the last number of the thought. So
# a right thought with a wrong answer is accepted, a right answer behind a wrong thought refused.
# And its timeout works by signal.alarm: an alarm that the caller had set never rings.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} math-verify==0.9.0
"$folder/bin/python" -W ignore - <<'END'
import signal
import time
from importlib.metadata import version

from math_verify import parse, verify

print("math-verify", version("math-verify"))
gold = parse("12")
texts = {
    "<answer>12</answer>": False,
    "<think>it is 12</think><answer>13</answer>": True,
    "<think>it is 13</think><answer>12</answer>": False,
    "12": True,
}
for text, accepted in texts.items():
    print(f"{text!r} for 12: parse gives {parse(text)}, verify {verify(gold, parse(text))}")
    assert verify(gold, parse(text)) == accepted
rung = []
signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
signal.alarm(1)
parse("12")
time.sleep(1.5)
print("the caller's alarm of one second rang:", bool(rung))
assert not rung
END
