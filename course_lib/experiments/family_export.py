"""The family's trained models as folders that transformers opens, each with its tokenizer."""

import json
from pathlib import Path

from torch import nn

from course_lib.experiments import family_texts as texts
from course_lib.experiments.family import MODEL_OF, control_codes, load_system
from course_lib.files import write_atomically
from course_lib.models.hf_files import save_hf
from course_lib.models.hf_tokenizer import hf_tokenizer_json

FAMILY_MODELS = {name.lower().replace(" ", "-"): name for name in MODEL_OF}
LEFT_TO_RIGHT = ("GPT-2", "CTRL")
WITH_SEGMENTS = ("BERT", "ALBERT", "Megatron BERT")
# What stands around a text, and around two, in the words of the package `tokenizers`.
BORDERS = {
    "GPT-2": ("[CLS] $A", "[CLS] $A $B"),
    "CTRL": ("$A", "$A $B"),  # a prompt begins with a control code
}
ENCODER_BORDERS = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")


def write_family_model(name: str, folder: Path) -> str:
    """Write weights, settings and tokenizer of a shipped model of the family; give its README."""
    model = load_system(name)
    save_hf(model, folder)
    config = json.loads((folder / "config.json").read_bytes()) | {
        "pad_token_id": texts.PAD_TOKEN, "bos_token_id": texts.CLS_TOKEN,
        "eos_token_id": texts.SEP_TOKEN,
    }  # fmt: skip
    files = {
        "config.json": config,
        "tokenizer.json": family_tokenizer_json(name),
        "tokenizer_config.json": family_tokenizer_config(name),
    }
    for file, table in files.items():
        write_atomically(folder / file, json.dumps(table, ensure_ascii=False, indent=1).encode())
    return family_readme(name, model)


def family_tokenizer_json(name: str) -> dict:
    """Give tokenizer.json: the special tokens come first, the others move up, codes come last."""
    table, n = hf_tokenizer_json(texts.family_tokenizer()), len(texts.FAMILY_SPECIALS)
    special = {token: number for number, token in enumerate(texts.FAMILY_SPECIALS)}
    moved = {token: number + n for token, number in table["model"]["vocab"].items()}
    table["model"]["vocab"] = special | moved
    if name == "CTRL":
        first = len(special | moved)
        special |= {code_name(code): first + i for i, code in enumerate(control_codes())}
    found = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    table["added_tokens"] = [
        {"id": number, "content": token, **found, "special": True}
        for token, number in special.items()
    ]
    table["post_processor"] = border_template(*BORDERS.get(name, ENCODER_BORDERS))
    return table


def code_name(code: tuple[str, str, str]) -> str:
    """Write a control code as a token.

    >>> code_name(("tale", "good", "ada"))
    '[tale good ada]'
    """
    return f"[{' '.join(code)}]"


def border_template(single: str, pair: str) -> dict:
    """Say where [CLS] and [SEP] stand: `$B:1` is the second text, in segment 1."""
    borders = {"[CLS]": texts.CLS_TOKEN, "[SEP]": texts.SEP_TOKEN}
    return {
        "type": "TemplateProcessing",
        "single": [template_piece(word) for word in single.split()],
        "pair": [template_piece(word) for word in pair.split()],
        "special_tokens": {
            token: {"id": token, "ids": [number], "tokens": [token]}
            for token, number in borders.items()
        },
    }


def template_piece(word: str) -> dict:
    """Read one word of a template.

    >>> template_piece("$B:1")
    {'Sequence': {'id': 'B', 'type_id': 1}}
    """
    token, _, segment = word.partition(":")
    kind, token = ("Sequence", token[1:]) if token[0] == "$" else ("SpecialToken", token)
    return {kind: {"id": token, "type_id": int(segment or 0)}}


def family_tokenizer_config(name: str) -> dict:
    """Name the special tokens, and what the tokenizer hands to the model."""
    inputs = ["input_ids", "attention_mask"]
    inputs += ["token_type_ids"] if name in WITH_SEGMENTS else []
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]",
        "model_max_length": texts.FAMILY_LENGTH,
        "padding_side": "left" if name in LEFT_TO_RIGHT else "right",
        "model_input_names": inputs, "clean_up_tokenization_spaces": False,
    }  # fmt: skip


def family_readme(name: str, model: nn.Module) -> str:
    """Say how the folder is opened."""
    if name == "XLNet":
        use = XLNET_USE
    elif name in LEFT_TO_RIGHT:
        prompt = "[tale bad ada] Tom was" if name == "CTRL" else "Tom was"
        use = WRITER_USE.format(prompt=prompt)
    else:
        use = READER_USE
    shape = f"{model.settings.n_layers} layers, width {model.settings.d_model}"
    return f"""\
# {name}, small, for transformers

It has {shape}, and has read passages of at most {texts.FAMILY_LENGTH} tokens of the small web.

```python
{use}```
"""


READER_USE = """\
from transformers import pipeline

fill = pipeline("fill-mask", model=".")
print([guess["token_str"] for guess in fill("Lily gave the lamp to [MASK].")])
"""
WRITER_USE = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
prompt = tokenizer("{prompt}", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=20)[0]))
"""
XLNET_USE = """\
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
text = tokenizer("Lily gave the lamp to [MASK].", return_tensors="pt")
place = (text.input_ids[0] == tokenizer.mask_token_id).nonzero().item()
n = text.input_ids.shape[1]
unseen = torch.zeros(1, n, n)
unseen[:, :, place] = 1  # nobody reads the token there
asked = torch.zeros(1, 1, n)
asked[:, :, place] = 1
logits = model(**text, perm_mask=unseen, target_mapping=asked).logits
print(tokenizer.decode(logits[0, 0].topk(5).indices))
"""
