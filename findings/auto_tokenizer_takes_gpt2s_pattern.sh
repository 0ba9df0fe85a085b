#!/usr/bin/env bash
# transformers 5.23.0 (with tokenizers 0.23.3): a folder holds a whole tokenizer.json and a
# config.json of a GPT-2; its tokenizer_config.json names no class. AutoTokenizer then takes GPT-2's
# class, which keeps the vocabulary and merges of the file and puts GPT-2's way to cut text in place
# of the file's own. The text still comes back whole, so only the ids show it. With
# "tokenizer_class": "PreTrainedTokenizerFast", or beside a Llama's config, the file's way stays.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} transformers==5.23.0 tokenizers==0.23.3
cd "$folder"
"$folder/bin/python" -W ignore - <<'END'
import json
from pathlib import Path

import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

letters = sorted(pre_tokenizers.ByteLevel.alphabet())
words = {letter: i for i, letter in enumerate(letters)} | {"12": len(letters)}
plain = Tokenizer(models.BPE(words, [("1", "2")]))
plain.pre_tokenizer = pre_tokenizers.Sequence([  # each digit apart, as DeepSeek's early ones
    pre_tokenizers.Split(Regex(r"\d"), "isolated"),
    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
])
plain.decoder = decoders.ByteLevel()
plain.save("tokenizer.json")
want, text = plain.encode("is 12").ids, "is 12"


def opened(model_type, told):
    Path("config.json").write_text(json.dumps({"model_type": model_type}))
    Path("tokenizer_config.json").write_text(json.dumps(told))
    reader = transformers.AutoTokenizer.from_pretrained(".")
    ids = reader(text)["input_ids"]
    print(f"{model_type:6} {str(told):50} {type(reader).__name__:20} {ids} {reader.decode(ids)!r}")
    assert reader.decode(ids) == text
    return ids


print("transformers", transformers.__version__, "wanted", want)
assert opened("gpt2", {"tokenizer_class": "PreTrainedTokenizerFast"}) == want
assert opened("llama", {}) == want
assert opened("gpt2", {}) != want, "this has changed: the page on models elsewhere says it"
END
