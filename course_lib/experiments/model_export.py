"""A trained model as a folder for other programs: in Hugging Face's form, or as GGUF.

With its tokenizer, its chat template, how it is to be sampled from, and a README.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from course_lib.experiments.family_export import FAMILY_MODELS, write_family_model
from course_lib.experiments.trained_models import TrainedModel, find_trained_model
from course_lib.files import write_atomically
from course_lib.folders import export_folder
from course_lib.models.gguf_export import PRE_TOKENIZERS, save_gguf
from course_lib.models.hf_files import save_hf
from course_lib.models.hf_tokenizer import (
    HF_CHAT_TEMPLATE,
    check_exportable,
    check_hf_template,
    fill_hf_template,
    save_hf_tokenizer,
)
from course_lib.text.bpe import WORD_PATTERN
from course_lib.text.chat import END_OF_TEXT, PAD

MODEL_EXPORT_KIND, MODEL_EXPORT_VERSION = "exported model", 1
MTP_NOTE = (
    "The module that predicts one token further is left out: no program named here loads it from a"
    " model of this depth."
)


def export_model(
    folder: Path | str,
    model: str | TrainedModel = "r1",
    to: str = "hf",
    template: str = HF_CHAT_TEMPLATE,
    dtype: str = "f32",
) -> Path:
    """Write the folder, whole or not at all, and return its path.

    `model` as in `find_trained_model`, or a name of FAMILY_MODELS, or a model with its tokenizer;
    `to` is "hf" or "gguf";
    `dtype`, "f32" or "f16", is GGUF's. A folder that is already there is replaced if it is such an
    export and nothing in it was added or changed since; else ValueError, as for what the other
    programs can't hold.
    """
    if to not in EXPORT_FORMS:
        raise ValueError(f"{to!r} is not {' or '.join(EXPORT_FORMS)}")
    if to == "hf" and dtype != "f32":
        raise ValueError(f"dtype {dtype!r} is for gguf; hf is written in f32")
    if isinstance(model, str) and model in FAMILY_MODELS:
        return export_family(Path(folder), model, to)
    trained = model if isinstance(model, TrainedModel) else find_trained_model(model)
    check_exportable(trained.tokenizer)
    check_hf_template(template, trained.tokenizer)
    about = {"model": trained.name, "to": to, "dtype": dtype}
    with export_folder(folder, MODEL_EXPORT_KIND, MODEL_EXPORT_VERSION, about) as made:
        readme = EXPORT_FORMS[to](trained, made, template, dtype)
        if has_mtp(trained.model):
            readme += f"\n{MTP_NOTE}\n"
        write_atomically(made / "README.md", readme.encode())
    return Path(folder)


def export_family(folder: Path, model: str, to: str) -> Path:
    """Write a shipped model of BERT's family, which has no chat template, for transformers."""
    if to != "hf":
        raise ValueError(f"{model!r} is written for hf alone, not {to}: it is no chat model")
    about = {"model": model, "to": to, "dtype": "f32"}
    with export_folder(folder, MODEL_EXPORT_KIND, MODEL_EXPORT_VERSION, about) as made:
        readme = write_family_model(FAMILY_MODELS[model], made)
        write_atomically(made / "README.md", readme.encode())
    return folder


def has_mtp(model: nn.Module) -> bool:
    """Tell whether a model has a module for multi-token prediction."""
    return getattr(model, "mtp", None) is not None


def without_mtp(model: nn.Module) -> nn.Module:
    """Give the model without its module for multi-token prediction: its logits are the same."""
    if not has_mtp(model):
        return model
    plain = type(model)(replace(model.settings, mtp=False))
    weights = {n: t for n, t in model.state_dict().items() if not n.startswith("mtp.")}
    plain.load_state_dict(weights)
    return plain.eval()


# Hugging Face's form
# --------------------------------------------------------------------------------------------------


def write_hf_model(
    trained: TrainedModel,
    folder: Path,
    temperature: float = 1.0,
    max_new_tokens: int | None = None,
    template: str = HF_CHAT_TEMPLATE,
) -> None:
    """Write weights, settings, tokenizer and chat template as transformers opens them.

    What ends an answer is told in both places where engines look. The usual top-k of transformers'
    `generate` would cut the distribution: 0 says that it must not. `max_new_tokens` is left out
    unless asked for: in this file it would overrule the limits of lm_eval's tasks.
    """
    model, tokenizer = trained.model, trained.tokenizer
    longest = model.settings.max_seq_len
    if model.settings.vocab_size < tokenizer.n_vocab:
        raise ValueError(
            f"vocab_size {model.settings.vocab_size} of the model is below the tokenizer's"
            f" {tokenizer.n_vocab} tokens"
        )
    save_hf(model, folder)
    save_hf_tokenizer(tokenizer, folder, longest, template)
    end, pad = (tokenizer.special_tokens[name] for name in (END_OF_TEXT, PAD))
    ids = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": pad}
    config = json.loads((folder / "config.json").read_bytes()) | ids
    sampling = {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}
    sampling |= ids | ({"max_new_tokens": max_new_tokens} if max_new_tokens else {})
    for name, table in {"config.json": config, "generation_config.json": sampling}.items():
        write_atomically(folder / name, json.dumps(table, indent=2).encode())


def export_hf(trained: TrainedModel, folder: Path, template: str, dtype: str) -> str:
    """Write the folder that transformers opens; give its README."""
    plain = replace(trained, model=without_mtp(trained.model))
    write_hf_model(plain, folder, template=template)
    length, question = trained.model.settings.max_seq_len, "7+5-3=?"
    prompt = fill_hf_template(template, [{"role": "user", "content": question}], True)
    room = length - len(trained.tokenizer.encode(prompt, allowed_special="all"))
    return f"""\
# {trained.name}, for transformers and what is built on it

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
chat = [{{"role": "user", "content": "{question}"}}]
prompt = tokenizer.apply_chat_template(
    chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
print(tokenizer.decode(model.generate(**prompt, max_new_tokens={max(1, min(72, room))})[0]))
```

It reads at most {length} tokens. A text begins with `{END_OF_TEXT}`,
as in training; the chat template writes it, a plain prompt must. There is no system prompt.
"""


# GGUF
# --------------------------------------------------------------------------------------------------

# Plain sampling from the model's distribution; llama.cpp, Ollama and LM Studio cut it otherwise.
GGUF_SAMPLING = {"temp": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "penalty_repeat": 1.0}
OLLAMA_TEMPLATE = (
    '{{ range .Messages }}{{ if eq .Role "user" }}User: {{ .Content }}\n'
    'Assistant: {{ else if eq .Role "assistant" }}{{ .Content }}%s{{ end }}{{ end }}'
)


def export_gguf(trained: TrainedModel, folder: Path, template: str, dtype: str) -> str:
    """Write model.gguf, and for Ollama a Modelfile if the template is the course's; give README."""
    words = {f"general.sampling.{name}": value for name, value in GGUF_SAMPLING.items()}
    words |= {"general.name": trained.name, "tokenizer.chat_template": template}
    save_gguf(trained.model, trained.tokenizer, folder / "model.gguf", words, dtype)
    length = trained.model.settings.max_seq_len
    commands = [f"llama-server -m model.gguf -c {length}    # then open http://localhost:8080"]
    if template == HF_CHAT_TEMPLATE:
        write_atomically(folder / "Modelfile", ollama_modelfile(length).encode())
        name = re.sub(r"[^a-z0-9_.-]+", "-", trained.name.lower())  # what Ollama takes
        commands += [f"ollama create {name} -f Modelfile", f"ollama run {name}"]
    return f"""\
# {trained.name}, for llama.cpp and what is built on it

```bash
{chr(10).join(commands)}
```

It reads at most {length} tokens. The chat template is in the file; there is no system prompt.
{cutting_note(trained.tokenizer.pattern)}
"""


def cutting_note(pattern: str) -> str:
    """Say whether llama.cpp cuts text as the tokenizer does."""
    name = PRE_TOKENIZERS[pattern]
    if pattern == WORD_PATTERN:
        return (
            f"llama.cpp has no rule that cuts text as this tokenizer does: the file names its"
            f" nearest, `{name}`. Sums have the same tokens; a few other texts do not."
        )
    return f"llama.cpp cuts text as the tokenizer does: by its rule `{name}`."


def ollama_modelfile(length: int) -> str:
    """Give what Ollama reads beside the file: it takes templates in Go's language."""
    sampling = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "repeat_penalty": 1}
    lines = [f"PARAMETER {name} {value}" for name, value in sampling.items()]
    lines += [f"PARAMETER num_ctx {length}", f'PARAMETER stop "{END_OF_TEXT}"']
    shown = f'TEMPLATE """{OLLAMA_TEMPLATE % END_OF_TEXT}"""'
    return "\n".join(["FROM ./model.gguf", shown, *lines]) + "\n"


EXPORT_FORMS: dict[str, Callable[[TrainedModel, Path, str, str], str]] = {
    "hf": export_hf,
    "gguf": export_gguf,
}
