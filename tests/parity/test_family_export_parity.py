"""The family's exported folders in transformers' hands: their ids are ours, and their logits."""

import subprocess
import sys

import pytest
import torch

from course_lib.experiments import family_texts as texts
from course_lib.experiments.family import code_of, load_system, with_codes
from course_lib.experiments.family_export import FAMILY_MODELS, LEFT_TO_RIGHT
from course_lib.experiments.model_export import export_model

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=FAMILY_MODELS)
def opened(request, tmp_path_factory):
    name, folder = FAMILY_MODELS[request.param], tmp_path_factory.mktemp("at") / request.param
    export_model(folder, request.param)
    causal = name in LEFT_TO_RIGHT or name == "XLNet"
    kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    reader = transformers.AutoTokenizer.from_pretrained(folder)
    return name, folder, reader, kind.from_pretrained(folder).eval(), load_system(name)


def some_texts():
    sentences = [texts.SENTENCES.findall(page.text)[0] for page in texts.family_pages()[:40]]
    return [text for text in sentences if len(texts.encode_family(text)) < 30] + ["Zoë\nnaïve  7"]


def test_ids_are_ours(opened):
    name, _, reader, _, _ = opened
    ours = [texts.encode_family(text) for text in some_texts()]
    n_front, n_back = {"GPT-2": (1, 0), "CTRL": (0, 0)}.get(name, (1, 1))
    for text, want in zip(some_texts(), ours, strict=True):
        got = reader(text)["input_ids"]
        assert got == [texts.CLS_TOKEN] * n_front + want + [texts.SEP_TOKEN] * n_back
        assert reader.decode(got, skip_special_tokens=True) == text


def test_segments_tell_two_texts_apart(opened):
    name, _, reader, _, _ = opened
    pair = reader("Tom ran.", "Lily ran.")
    if name in ("BERT", "ALBERT", "Megatron BERT"):
        n = len(texts.encode_family("Tom ran."))
        segments = [0] * (n + 2)
        assert pair["token_type_ids"] == segments + [1] * (len(pair["input_ids"]) - n - 2)
    else:
        assert "token_type_ids" not in pair


def test_logits_are_ours(opened):
    name, _, reader, theirs, ours = opened
    ids = texts.text_rows(some_texts()[:12])
    if name == "CTRL":
        ids = with_codes(ids, torch.tensor([code_of(page) for page in texts.family_pages()[:12]]))
    padding = ids == texts.PAD_TOKEN
    with torch.no_grad():
        got = theirs(ids, attention_mask=(~padding).long()).logits
        want = ours(ids) if name in LEFT_TO_RIGHT else ours(ids, padding=padding)
    torch.testing.assert_close(got[~padding], want[~padding], rtol=1e-4, atol=1e-4)


def test_the_readme_runs(opened):
    name, folder, *_ = opened
    if name not in ("BERT", "XLNet", "CTRL"):
        pytest.skip("one of each kind of README is run")
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout) > 10, name


def test_control_codes_are_single_tokens(tmp_path):
    export_model(tmp_path / "ctrl", "ctrl")
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "ctrl")
    page = texts.family_pages()[0]
    code = " ".join(page.labels[name] for name in ("source", "mood", "author"))
    assert reader(f"[{code}]")["input_ids"] == [code_of(page)]


def test_gguf_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="'bert' is written for hf alone"):
        export_model(tmp_path / "bert", "bert", "gguf")
    assert not any(tmp_path.iterdir())
