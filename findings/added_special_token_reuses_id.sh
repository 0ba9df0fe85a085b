#!/usr/bin/env bash
# tokenizers 0.23.3: `add_special_tokens` returns 1 for a token that the model's vocabulary holds
# already. Its id is reused and the vocabulary does not grow, so that "how many were added" is no
# measure of how many rows an embedding table needs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} tokenizers==0.23.3
"$folder/bin/python" -W ignore - <<'END'
import tokenizers
from tokenizers import Tokenizer, models

tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "<|end|>": 2}, []))
added = tokenizer.add_special_tokens(["<|end|>"])
print("tokenizers", tokenizers.__version__)
print("added:", added, " vocabulary:", tokenizer.get_vocab_size(), " id:", tokenizer.token_to_id("<|end|>"))
assert (added, tokenizer.get_vocab_size(), tokenizer.token_to_id("<|end|>")) == (1, 3, 2)
END
