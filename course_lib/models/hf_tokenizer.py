"""A tokenizer and its chat template as the files that Hugging Face's transformers opens."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from course_lib.files import write_atomically
from course_lib.text.bpe import Tokenizer, printable_bytes
from course_lib.text.chat import CHAT_TEMPLATE, END_OF_TEXT, PAD, ChatMessage

# A prompt stands behind the end of another text, see `rl_task.question_prompt_ids`. Engines read a
# rendered chat without adding special tokens of their own, so the template itself must begin with
# it. Roles out of turn are refused as `render_chat` does: there is no system prompt.
HF_CHAT_TEMPLATE = (
    """\
{%- for message in messages -%}
    {%- set due = 'user' if loop.index0 % 2 == 0 else 'assistant' -%}
    {%- if message.role != due -%}
        {{- raise_exception('the role ' + message.role + ' where it must be ' + due) -}}
    {%- endif -%}
{%- endfor -%}
{{- bos_token -}}
"""
    + CHAT_TEMPLATE
)
SPECIAL_LOOKING = re.compile(r"</?\|?\w+\|?>")


def hf_tokenizer_files(
    tokenizer: Tokenizer, max_length: int, template: str = HF_CHAT_TEMPLATE
) -> dict[str, str]:
    """Give the files of a tokenizer, name -> text, for `AutoTokenizer.from_pretrained`.

    Its ids are ours, whatever the text. Differs in one thing: theirs finds special tokens in any
    text, ours only where they are allowed; `render_chat` refuses a user's message that holds one,
    theirs does not. Only the end of a text and the padding are "special" there: engines hide such
    tokens from a reward, and ours reads the tags.

    Raises ValueError if a byte has no token, if special tokens are missing or do not follow the
    others without a gap (theirs would number them anew), for tokens that no text becomes, or for a
    chat template that does not go with the tokenizer, see `check_hf_template`.
    """
    check_exportable(tokenizer)
    check_hf_template(template, tokenizer)
    names = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "pad_token": PAD}
    options = names | {
        # named, lest AutoTokenizer take GPT-2's class, and its pattern, for a GPT-2
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "padding_side": "left",  # as generation needs it
        "clean_up_tokenization_spaces": False,  # or " ," would be decoded as ","
    }
    tables = {
        "tokenizer.json": hf_tokenizer_json(tokenizer),
        "tokenizer_config.json": options,
        "special_tokens_map.json": names,
    }
    files = {
        name: json.dumps(table, ensure_ascii=False, indent=1) for name, table in tables.items()
    }
    return files | {"chat_template.jinja": template}


def save_hf_tokenizer(
    tokenizer: Tokenizer, folder: Path | str, max_length: int, template: str = HF_CHAT_TEMPLATE
) -> None:
    """Write the files of `hf_tokenizer_files` into a folder, which is made if there is none."""
    folder, files = Path(folder), hf_tokenizer_files(tokenizer, max_length, template)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_atomically(folder / name, text.encode())


def hf_tokenizer_json(tokenizer: Tokenizer) -> dict:
    """Give the content of tokenizer.json: byte-level BPE in the words of the package `tokenizers`.

    `ignore_merges` says that a piece that is a token as a whole needs no merge, as ours has it.
    """
    vocabulary = {printed_token(token): rank for token, rank in tokenizer.ranks.items()}
    added = sorted(tokenizer.special_tokens.items(), key=lambda item: item[1])
    split = {"type": "Split", "pattern": {"Regex": tokenizer.pattern}}
    # trim_offsets: only where in the text a token is said to stand
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    byte_level["use_regex"] = False  # its own pattern, GPT-2's
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(name, token_id) for name, token_id in added],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [split | {"behavior": "Isolated", "invert": False}, byte_level],
        },
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": token_merges(tokenizer),
            "ignore_merges": True,
        },
    }


def token_merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """Give all pairs of tokens that make a token, by the rank of what they make, as printed.

    Ours joins any two neighbours whose joined bytes are a token; theirs only pairs in this list. So
    every way to cut a token in two is in it, as when tiktoken's vocabularies are converted.

    >>> bytes_only = {bytes([byte]): byte for byte in range(256)}
    >>> token_merges(Tokenizer(bytes_only | {b"ab": 256, b"bc": 257, b"abc": 258}))
    [('a', 'b'), ('b', 'c'), ('a', 'bc'), ('ab', 'c')]
    """
    ranks, pairs = tokenizer.ranks, []
    for token in sorted(ranks, key=ranks.get):
        cuts = ((token[:i], token[i:]) for i in range(1, len(token)))
        pairs += [pair for pair in cuts if pair[0] in ranks and pair[1] in ranks]
    return [(printed_token(left), printed_token(right)) for left, right in pairs]


def printed_token(token: bytes) -> str:
    """Write a token in printable characters, one per byte, see `printable_bytes`.

    >>> printed_token(" café".encode())
    'ĠcafÃ©'
    """
    return "".join(map(printable_bytes().__getitem__, token))


def added_token(name: str, token_id: int) -> dict:
    """Say how a special token is found: anywhere, as written."""
    found = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": name, **found, "special": name in (END_OF_TEXT, PAD)}


def check_exportable(tokenizer: Tokenizer) -> None:
    """Raise a ValueError if theirs would give other ids than ours."""
    if missing := {END_OF_TEXT, PAD} - tokenizer.special_tokens.keys():
        raise ValueError(f"the tokenizer has no {' and no '.join(sorted(missing))}")
    lacking = [byte for byte in range(256) if bytes([byte]) not in tokenizer.ranks]
    if lacking or tokenizer.decode_only:
        raise ValueError(
            f"{len(lacking)} bytes have no token and {len(tokenizer.decode_only)} tokens are only"
            " for decoding: theirs would read such texts differently"
        )
    n_ranks = len(tokenizer.ranks)
    got = sorted(tokenizer.ranks.values()) + sorted(tokenizer.special_tokens.values())
    if got != list(range(tokenizer.n_vocab)):
        raise ValueError(
            f"ids must be 0 to {n_ranks - 1} for tokens and {n_ranks} to {tokenizer.n_vocab - 1}"
            " for special tokens, or theirs would number them anew"
        )


def check_hf_template(template: str, tokenizer: Tokenizer) -> None:
    """Raise a ValueError if a chat template, in Jinja, does not go with the tokenizer.

    It must render a chat, write no special tokens but the tokenizer's, end an answer with the token
    that ends a text, or a model would not be told to stop, and begin one where it is asked to.
    """
    said = {"user": "7 apples?", "assistant": "12 pears."}
    chat = [{"role": role, "content": content} for role, content in said.items()]
    text = fill_hf_template(template, chat)
    if unknown := sorted({*SPECIAL_LOOKING.findall(text)} - tokenizer.special_tokens.keys()):
        raise ValueError(
            f"the chat template writes {', '.join(unknown)}; the tokenizer's special tokens are"
            f" {', '.join(tokenizer.special_tokens)}"
        )
    if missing := [content for content in said.values() if content not in text]:
        raise ValueError(f"the chat template leaves out {missing[0]!r} of a chat: {text!r}")
    if not text.split(said["assistant"])[-1].strip().startswith(END_OF_TEXT):
        raise ValueError(f"the chat template ends an answer without {END_OF_TEXT}: {text!r}")
    prompt = fill_hf_template(template, chat[:1], add_generation_prompt=True)
    if not prompt.startswith(before := text.partition(said["assistant"])[0].rstrip()):
        raise ValueError(
            "the chat template does not begin an answer where add_generation_prompt asks it to:"
            f" {prompt!r}, not {before!r}"
        )


def fill_hf_template(
    template: str, messages: Sequence[ChatMessage], add_generation_prompt: bool = False
) -> str:
    """Render messages as transformers does, with the names that it gives to templates.

    Raises ValueError where the template can't be read, or refuses the messages.
    """

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    jinja = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    names = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "pad_token": PAD}
    names |= {"messages": messages, "add_generation_prompt": add_generation_prompt}
    try:
        return jinja.from_string(template).render(names, raise_exception=raise_exception)
    except (TemplateError, TypeError) as error:
        raise ValueError(f"the chat template does not render a chat: {error}") from None
