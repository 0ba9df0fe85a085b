#!/usr/bin/env bash
# reasoning-gym 0.1.25: item i of a data set is drawn with Random(seed + i), so the data sets of two
# neighbouring seeds share all items but one, and a test set made with another seed is the training
# set. Its own ReseedingDataset, which makes a data set endless by seed + 1 per chunk, brings one new
# item per chunk. And three data sets ask other questions in every process for one and the same seed
# (they walk over a set of words), unless PYTHONHASHSEED is fixed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} reasoning-gym==0.1.25
cat >"$folder/questions.py" <<'END'
import reasoning_gym

for name in ("chain_sum", "isomorphic_strings", "polynomial_multiplication", "ransom_note"):
    question = reasoning_gym.create_dataset(name, size=5, seed=7)[0]["question"]
    print(name, question.encode().hex())
END
for hashes in 1 2; do
    PYTHONHASHSEED=$hashes "$folder/bin/python" -W ignore "$folder/questions.py" >"$folder/$hashes"
done
"$folder/bin/python" -W ignore - "$folder" <<'END'
import sys
from importlib.metadata import version
from itertools import islice

import reasoning_gym
from reasoning_gym.dataset import ReseedingDataset

print("reasoning-gym", version("reasoning-gym"))
train, test = (reasoning_gym.create_dataset("chain_sum", size=500, seed=seed) for seed in (0, 1))
known = {train[i]["question"] for i in range(500)}
shared = sum(test[i]["question"] in known for i in range(500))
print(f"seeds 0 and 1: {shared} of 500 questions are the same")
endless = ReseedingDataset(reasoning_gym.create_dataset("chain_sum", seed=0), chunk_size=500)
distinct = len({entry["question"] for entry in islice(endless, 5000)})
print(f"5000 items of the endless data set: {distinct} different questions")
first, second = (dict(map(str.split, open(f"{sys.argv[1]}/{n}"))) for n in (1, 2))
other = [name for name in first if first[name] != second[name]]
print("another question in another process:", *other)
assert shared >= 499 and distinct < 520
assert other == ["isomorphic_strings", "polynomial_multiplication", "ransom_note"]
END
