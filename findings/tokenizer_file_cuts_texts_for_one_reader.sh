#!/usr/bin/env bash
# tokenizers 0.23.3, transformers 5.23.0: a tokenizer.json may say that texts are cut and padded, as
# that of all-MiniLM-L6-v2 does (128 tokens). `tokenizers` obeys in silence: every text becomes 128
# tokens, and what comes later in a long one is not read. transformers' tokenizer of the same file
# does neither, and cuts only where a call asks. So two readers of one file give other ids and,
# where nobody hands the mask on, other vectors; and neither takes the limit of 256 that the model's
# sentence_bert_config.json names.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} transformers==5.23.0 tokenizers==0.23.3
cd "$folder"
"$folder/bin/python" -W ignore - <<'END'
import tokenizers
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

made = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "sea": 2, "ship": 3}, "[UNK]"))
made.pre_tokenizer = pre_tokenizers.Whitespace()
made.enable_truncation(8)
made.enable_padding(length=8)
made.save("tokenizer.json")

print("tokenizers", tokenizers.__version__, " transformers", transformers.__version__)
plain = Tokenizer.from_file("tokenizer.json")
wrapped = transformers.PreTrainedTokenizerFast(tokenizer_file="tokenizer.json")
for text in ("sea", "sea " * 20 + "ship"):
    one, other = plain.encode(text).ids, wrapped(text)["input_ids"]
    print(f"{len(text.split())} words: tokenizers {len(one)} ids, transformers {len(other)}")
    assert len(one) == 8 and len(other) == len(text.split())
assert 3 not in plain.encode("sea " * 20 + "ship").ids  # the last word is lost
assert wrapped.model_max_length > 10**6  # the file's limit is not taken for the model's
END
