"""A model that leaves the course: the command, what it refuses, nothing half-written."""

import json
from dataclasses import replace

import pytest

from course_lib import export as command
from course_lib.assets import DATA_FOLDER
from course_lib.experiments import model_export
from course_lib.experiments.model_export import export_model, without_mtp
from course_lib.experiments.pretraining import main as train_main
from course_lib.experiments.trained_models import SHIPPED_MODELS, TrainedModel, find_trained_model
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.hf_files import load_hf
from course_lib.models.hf_tokenizer import HF_CHAT_TEMPLATE, fill_hf_template
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_OF_TEXT, render_chat
from course_lib.training.checkpoint import CHECKPOINT_KIND, write_tensors
from tests.exported_models import SIZES, exported_model

HF_FILES = [
    "README.md", "chat_template.jinja", "config.json", "export.json", "generation_config.json",
    "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
]  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_shipped_models_are_written_and_read_back(name, tmp_path):
    folder = export_model(tmp_path / "at", name)
    assert names(folder) == HF_FILES
    ours, again = find_trained_model(name).model, load_hf(folder)
    weights = without_mtp(ours).state_dict()
    assert again.state_dict().keys() == weights.keys()
    assert all((value == weights[name]).all() for name, value in again.state_dict().items())


@pytest.mark.parametrize("kind", ["gpt2", "v1", "v2", "v3"])
def test_a_run_of_the_training_command_is_a_model(kind, tmp_path, capsys):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("To be, or not to be: 7+5. " * 60)
    sizes = "--d-model 16 --n-layers 1 --n-heads 2 --max-seq-len 32 --vocab-size 270 --steps 2"
    mtp = ["--set", "mtp=true"] if kind == "v3" else []
    run, texts = str(tmp_path / "run"), str(tmp_path / "texts")
    words = ["--out", run, "--text", texts, "--model", kind, *sizes.split(), "--batch-size", "2"]
    assert train_main([*words, *mtp]) == 0
    assert command.main([str(tmp_path / "at"), "--model", run]) == 0
    assert load_hf(tmp_path / "at").settings.d_model == 16
    assert ("one token further" in (tmp_path / "at/README.md").read_text()) == (kind == "v3")
    assert "README.md says how" in capsys.readouterr().out


def test_a_stage_of_a_run_is_a_model(tmp_path):
    stage = find_trained_model(str(DATA_FOLDER / "r1/seed-0/student"))
    shipped = find_trained_model("student")
    assert stage.name == "student" and stage.tokenizer == shipped.tokenizer


def test_gguf_comes_with_a_file_for_ollama(tmp_path):
    pytest.importorskip("gguf")
    folder = export_model(tmp_path / "at", "r1", "gguf")
    assert names(folder) == ["Modelfile", "README.md", "export.json", "model.gguf"]
    asked = (folder / "Modelfile").read_text()
    assert 'TEMPLATE """{{ range .Messages }}' in asked and "{{ .Content }}" + END_OF_TEXT in asked
    template = HF_CHAT_TEMPLATE + "\n"  # not the course's: no Modelfile may say so
    folder = export_model(tmp_path / "at", "r1", "gguf", template)
    assert names(folder) == ["README.md", "export.json", "model.gguf"]
    assert "Modelfile" not in (folder / "README.md").read_text()


# What is refused
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "message"), [
    (["--model", "bse"], "no model 'bse': give base, zero, r1, student, search, or the folder"),
    (["--model", "/"], "no model '/'"),
    (["--to", "gguf", "--model", "search"], "llama.cpp has no name for the pattern"),
    (["--template", "/none"], "No such file"),
    (["--dtype", "f16"], "dtype 'f16' is for gguf"),
])  # fmt: skip
def test_bad_arguments_are_named_and_leave_nothing(arguments, message, tmp_path, capsys):
    assert command.main([str(tmp_path / "at"), *arguments]) == 1
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


ANSWER = "{{ messages[1].content }}"
TEMPLATES = [
    ("{% for %}", "does not render a chat: "),
    ("{{ messages[7].content.strip() }}", "does not render a chat: "),
    ("{{ raise_exception('not so') }}", "does not render a chat: not so"),
    ("<|im_start|>{{ messages[0].content }}" + ANSWER, r"writes <\|im_start\|>; the tokenizer's"),
    (ANSWER + "{{ eos_token }}", "leaves out '7 apples\\?' of a chat"),
    ("{{ messages[0].content }}\n" + ANSWER + "\n", r"ends an answer without <\|endoftext\|>"),
    (
        HF_CHAT_TEMPLATE.replace("if add_generation_prompt", "if false"),
        "does not begin an answer where add_generation_prompt asks it to: ",
    ),
]


@pytest.mark.parametrize(("template", "message"), TEMPLATES)
def test_a_template_that_differs_from_the_tokenizer_is_refused(template, message, tmp_path):
    for to in ("hf", "gguf"):
        with pytest.raises(ValueError, match=message):
            export_model(tmp_path / "at", "student", to, template)
    assert not list(tmp_path.iterdir())


def test_a_template_may_ask_for_the_thought_and_break_off(tmp_path):
    """Both are common: a prompt that goes on behind the role, and transformers' loop controls."""
    asked = HF_CHAT_TEMPLATE.replace("{{ 'Assistant: ' }}", "{{ 'Assistant: <think>' }}")
    end = "{%- endfor -%}"
    asked = asked.replace(end, "{%- if loop.last -%}{%- break -%}{%- endif -%}" + end)
    assert asked.count("<think>") == 1 and asked.count("break") == 2
    folder = export_model(tmp_path / "at", "student", template=asked)
    assert (folder / "chat_template.jinja").read_text() == asked


@pytest.mark.parametrize("roles", [
    ["system", "user"], ["user", "system"], ["user", "user"], ["assistant"], ["user", "tool"],
])  # fmt: skip
def test_roles_are_refused_by_the_exported_template_as_by_the_course(roles):
    chat = [{"role": role, "content": "7"} for role in roles]
    with pytest.raises(ValueError, match=f"the role '{roles[-1]}'|role 'system'"):
        render_chat(chat)
    with pytest.raises(ValueError, match=r"the role \w+ where it must be (user|assistant)"):
        fill_hf_template(HF_CHAT_TEMPLATE, chat)


def test_chats_are_rendered_by_the_exported_template_as_by_the_course():
    said = ["7+5?", "<think>7+5=12</think><answer>12</answer>", "And 1+1?", " 2"]
    chat = [
        {"role": role, "content": text}
        for role, text in zip(["user", "assistant"] * 2, said, strict=True)
    ]
    for n in range(1, 5):
        ours = END_OF_TEXT + render_chat(chat[:n], n % 2 == 1)
        assert fill_hf_template(HF_CHAT_TEMPLATE, chat[:n], n % 2 == 1) == ours


def test_a_short_context_is_told_and_a_name_with_blanks_is_one_word(tmp_path):
    pytest.importorskip("gguf")
    settings = GPT2Settings(**SIZES | {"max_seq_len": 24})
    trained = TrainedModel("My poet", GPT2(settings), exported_model("gpt2").tokenizer)
    chat = [{"role": "user", "content": "7+5-3=?"}]
    prompt = END_OF_TEXT + render_chat(chat, True)
    room = 24 - len(trained.tokenizer.encode(prompt, allowed_special="all"))
    told = (export_model(tmp_path / "hf", trained) / "README.md").read_text()
    assert 0 < room < 20 and f"max_new_tokens={room})" in told
    told = (export_model(tmp_path / "gguf", trained, "gguf") / "README.md").read_text()
    assert "ollama create my-poet -f Modelfile\nollama run my-poet\n" in told


def test_a_kind_of_model_that_can_not_leave_is_named(tmp_path):
    write_tensors(tmp_path / "model.json", CHECKPOINT_KIND, {}, {"model": "Critic"})
    (tmp_path / "tokenizer.json").write_text("")
    with pytest.raises(ValueError, match="is a Critic, not GPT2, "):
        find_trained_model(str(tmp_path))


def test_a_tokenizer_with_more_tokens_than_the_model_has_rows_is_refused(tmp_path):
    trained = exported_model("gpt2")
    tokens = {**trained.tokenizer.ranks}
    last = len(tokens)
    tokens[b"a token of its own"] = last
    special = {name: i + 1 for name, i in trained.tokenizer.special_tokens.items()}
    larger = Tokenizer(tokens, trained.tokenizer.pattern, special)
    with pytest.raises(
        ValueError, match="vocab_size 512 of the model is below the tokenizer's 513"
    ):
        export_model(tmp_path / "at", replace(trained, tokenizer=larger))
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_without_an_end_is_refused(tmp_path):
    bytes_only = Tokenizer({bytes([byte]): byte for byte in range(256)})
    with pytest.raises(ValueError, match=r"no <\|endoftext\|> and no <\|pad\|>"):
        export_model(tmp_path / "at", replace(exported_model("gpt2"), tokenizer=bytes_only))


def test_nothing_that_is_not_ours_is_overwritten(tmp_path, capsys):
    def refused(message):
        assert command.main([str(tmp_path / "at"), "--model", "student"]) == 1
        assert message in capsys.readouterr().err

    (tmp_path / "at").write_text("mine")
    refused("is a file: give a folder")
    (tmp_path / "at").unlink()
    (tmp_path / "at").mkdir()
    export_model(tmp_path / "at", "student")  # an empty folder may be taken
    export_model(tmp_path / "at", "r1")  # and an export as it was written
    assert load_hf(tmp_path / "at").settings.vocab_size == 512
    (tmp_path / "at/notes.txt").write_text("mine")
    refused("holds notes.txt, added or changed since")
    (tmp_path / "at/notes.txt").unlink()
    written = (tmp_path / "at/README.md").read_bytes()
    (tmp_path / "at/README.md").write_text("changed by hand")
    refused("holds README.md, added or changed since")
    (tmp_path / "at/README.md").write_bytes(written)
    told = json.loads((tmp_path / "at/export.json").read_text())
    (tmp_path / "at/export.json").write_text(json.dumps(told | {"kind": "shopping list"}))
    refused("is no exported model: choose another folder.")
    (tmp_path / "at/export.json").unlink()
    refused("is not empty, and no export")
    assert names(tmp_path) == ["at"]


def test_a_failure_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(model_export, "save_hf_tokenizer", full)
    with pytest.raises(OSError, match="No space"):
        export_model(tmp_path / "at", "student")
    assert not list(tmp_path.iterdir())
