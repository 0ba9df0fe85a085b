"""A tokenizer in Hugging Face's words: what is refused; what theirs reads is in tests/parity."""

import json

import pytest

from course_lib.models.hf_tokenizer import hf_tokenizer_files, save_hf_tokenizer
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_OF_TEXT, PAD

BYTES = {bytes([byte]): byte for byte in range(256)}
ENDS = {END_OF_TEXT: 257, PAD: 258}


def test_all_files_are_written_and_say_what_ends_a_text(tmp_path):
    save_hf_tokenizer(Tokenizer(BYTES | {b"ab": 256}, special_tokens=ENDS), tmp_path / "new", 99)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "chat_template.jinja",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    told = json.loads((tmp_path / "new/tokenizer_config.json").read_text())
    assert told["eos_token"] == told["bos_token"] == END_OF_TEXT and told["pad_token"] == PAD
    assert told["model_max_length"] == 99


def test_only_tokens_without_a_text_are_hidden_from_rewards():
    tokenizer = Tokenizer(BYTES, special_tokens={END_OF_TEXT: 256, PAD: 257, "<think>": 258})
    added = json.loads(hf_tokenizer_files(tokenizer, 9)["tokenizer.json"])["added_tokens"]
    assert {token["content"]: token["special"] for token in added} == {
        END_OF_TEXT: True,
        PAD: True,
        "<think>": False,
    }


@pytest.mark.parametrize(("tokenizer", "message"), [
    (Tokenizer(BYTES, special_tokens={END_OF_TEXT: 256}), r"has no <\|pad\|>"),
    (Tokenizer(BYTES), r"no <\|endoftext\|> and no <\|pad\|>"),
    (Tokenizer({b"a": 0, b"b": 1}, special_tokens={END_OF_TEXT: 2, PAD: 3}), "254 bytes have no"),
    (
        Tokenizer(BYTES, special_tokens={END_OF_TEXT: 256, PAD: 257}, decode_only={b"ab": 258}),
        "1 tokens are only for decoding",
    ),
    (Tokenizer(BYTES, special_tokens=ENDS), "ids must be 0 to 255 for tokens and 256 to"),
    (
        Tokenizer(
            {token: rank + 2 for token, rank in BYTES.items()},
            special_tokens={END_OF_TEXT: 0, PAD: 1},
        ),
        "ids must be 0 to 255 for tokens and 256 to 257 for special",
    ),
])  # fmt: skip
def test_what_theirs_would_read_differently_is_refused(tokenizer, message):
    with pytest.raises(ValueError, match=message):
        hf_tokenizer_files(tokenizer, 9)
