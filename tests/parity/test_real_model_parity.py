"""SmolLM2-135M in our code and in transformers' from the same file: logits, chats, tokens."""

import gc
from pathlib import Path

import pytest
import torch

from course_lib import assets
from course_lib.inference.cache import KVCache
from course_lib.inference.packed import load_packed_gguf
from course_lib.models.gguf_files import GGUFModel, load_gguf

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")
pytest.importorskip("gguf")

TEXT = (
    "The harbour of Rotterdam was, in 1962, the largest in the world. Its cranes lift 14,000 boxes"
    " a day; nobody there speaks of it.\ndef f(x):\n    return x ** 2\n"
)


@pytest.fixture(scope="module")
def file() -> Path:
    try:
        return assets.smollm2_file()
    except assets.AssetError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def ours(file) -> GGUFModel:
    return load_gguf(file)


@pytest.fixture(scope="module")
def ids(ours) -> torch.Tensor:
    return torch.tensor([ours.tokenizer.encode(TEXT * 3)])


@torch.no_grad()
def test_logits_are_those_of_transformers(file, ours, ids):
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    want = theirs(ids).logits
    del theirs
    gc.collect()
    got = ours.model(ids)
    assert (got - want).abs().max() < 1e-3
    assert torch.equal(got.argmax(-1), want.argmax(-1))


@torch.no_grad()
def test_a_cache_changes_nothing(ours, ids):
    caches = [KVCache(ids.shape[1]) for _ in ours.model.blocks]
    first, rest = ours.model(ids[:, :40], caches), ours.model(ids[:, 40:], caches)
    whole = ours.model(ids)
    assert (torch.cat([first, rest], 1) - whole).abs().max() < 1e-3


def test_the_template_writes_what_theirs_writes(ours):
    chat = [
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": "And of Italy?"},
    ]
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()),
        chat_template=ours.template.source,
    )
    for messages in (chat, [{"role": "system", "content": "Be brief."}, *chat[:1]]):
        for prompt in (True, False):
            want = theirs.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=prompt
            )
            assert ours.template.render(messages, prompt) == want


@torch.no_grad()
def test_packed_weights_expect_the_text_as_well(file, ours, ids):
    packed = load_packed_gguf(file).model

    def surprise(model) -> float:
        return torch.nn.functional.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:]).item()

    assert abs(surprise(packed) - surprise(ours.model)) < 0.02
    same = packed(ids).argmax(-1) == ours.model(ids).argmax(-1)
    assert same.float().mean() > 0.95
