#!/usr/bin/env bash
# reasoning-gym 0.1.25: four data sets give the full score to an answer that is wrong, whatever is
# asked. coin_flip pays for the digits that agree, over the length of the shorter text: "0" begins
# every probability. complex_arithmetic: exp(-nan) is nan, and min(1.0, nan) is 1.0.
# game_of_life_halting compares bool("False") with bool("True"): both are true. puzzle24 never looks
# at the numbers that it asked for. And prime_factorization raises for an answer that is no number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} reasoning-gym==0.1.25
"$folder/bin/python" -W ignore - <<'END'
from importlib.metadata import version

import reasoning_gym

print("reasoning-gym", version("reasoning-gym"))
answers = {
    "coin_flip": "0",
    "complex_arithmetic": "nan",
    "game_of_life_halting": "I do not know",
    "puzzle24": "1*2*3*4",
}
for name, answer in answers.items():
    data = reasoning_gym.create_dataset(name, size=100, seed=0)
    entries = [data[i] for i in range(100)]
    full = sum(data.score_answer(answer, entry) == 1.0 for entry in entries)
    own = sum(entry["answer"] == answer for entry in entries)
    print(f"{name}: {answer!r} scores 1.0 on {full} of 100 questions, the right answer to {own}")
    assert full >= 90 and own == 0
data = reasoning_gym.create_dataset("prime_factorization", size=1, seed=0)
try:
    data.score_answer("I do not know", data[0])
    raised = ""
except ValueError as error:
    raised = str(error)
print("prime_factorization:", raised)
assert "invalid literal" in raised
END
