"""Exported folders in transformers' hands: every kind of model, its ids, its logits, its texts."""

import json
from random import Random

import pytest
import torch
import torch.nn.functional as F
from jinja2 import TemplateError

from course_lib.experiments.model_export import export_model
from course_lib.models.hf_files import load_hf
from course_lib.text import corpus, small_web
from course_lib.text.chat import END_OF_TEXT, PAD, render_chat
from tests.exported_models import DRAWN, SHIPPED, exported_model, greedy_ids, prompts_of

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=[*DRAWN, *SHIPPED, "search"])
def opened(request, tmp_path_factory):
    trained = exported_model(request.param)
    folder = export_model(tmp_path_factory.mktemp("at") / request.param, trained)
    reader = transformers.AutoTokenizer.from_pretrained(folder)
    theirs, told = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True
    )
    return trained, folder, reader, theirs.eval(), told


def test_nothing_is_missing_and_nothing_is_left_over(opened):
    """V3's module for multi-token prediction would be 17 keys too many."""
    *_, told = opened
    assert not any(told.values())


def test_texts_of_the_corpora_have_our_ids(opened):
    trained, _, reader, _, _ = opened
    rng = Random(0)
    texts = [page.text for page in small_web.draw_clean_documents(0.05, 7, "base")][:100]
    plays = [play.text for play in corpus.play_documents()]
    starts = [(rng.choice(plays), rng.randrange(10_000)) for _ in range(20)]
    texts += [play[start : start + 1000] for play, start in starts]
    texts += ["is 12345 and  77 +5 naïve\n\n  x 是不是 it's", "User: 7\nAssistant: <think>"]
    ours = [trained.tokenizer.encode(text, allowed_special="all") for text in texts]
    assert reader(texts)["input_ids"] == ours
    assert reader.batch_decode(ours) == texts


def test_logits_are_ours(opened):
    trained, folder, _, theirs, _ = opened
    ids = torch.tensor([(prompts_of(trained.tokenizer, 1)[0] * 9)[:100]])
    with torch.no_grad():
        got, want = theirs(ids).logits, trained.model(ids)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
        assert torch.equal(load_hf(folder)(ids), want)


def test_thirty_greedy_texts_are_ours(opened):
    """In one left-padded batch with a cache; ours one by one, without."""
    trained, _, reader, theirs, _ = opened
    tokenizer, prompts = trained.tokenizer, prompts_of(trained.tokenizer)
    end = tokenizer.special_tokens[END_OF_TEXT]
    batch = reader.pad({"input_ids": prompts}, return_tensors="pt")
    written = theirs.generate(**batch, do_sample=False, max_new_tokens=12)
    got = [row[batch["input_ids"].shape[1] :].tolist() for row in written]
    want = [greedy_ids(trained.model, prompt, 12, end, [])[0] for prompt in prompts]
    pad = tokenizer.special_tokens[PAD]
    assert [row[: len(w)] for row, w in zip(got, want, strict=True)] == want
    assert all(set(r[len(w) :]) <= {pad} for r, w in zip(got, want, strict=True))
    assert len(set(map(tuple, want))) > 10


def test_chat_and_sampling_are_told(opened):
    trained, folder, reader, _, _ = opened
    chat = [{"role": "user", "content": "7+5=?"}, {"role": "assistant", "content": "12"}]
    rendered = reader.apply_chat_template(chat, tokenize=False)
    assert rendered == END_OF_TEXT + render_chat(chat)
    with pytest.raises(TemplateError, match="the role system where it must be user"):
        reader.apply_chat_template([{"role": "system", "content": "Be kind."}, *chat])
    told = transformers.GenerationConfig.from_pretrained(folder)
    end = trained.tokenizer.special_tokens[END_OF_TEXT]
    assert (told.top_k, told.top_p, told.temperature, told.eos_token_id) == (0, 1.0, 1.0, end)
    assert told.max_new_tokens is None  # it would overrule lm_eval's


def test_the_class_of_the_tokenizer_must_be_named(tmp_path):
    """Without it AutoTokenizer takes GPT-2's class for a GPT-2, and GPT-2's way to cut text."""
    trained = exported_model("gpt2")
    folder = export_model(tmp_path / "at", trained)
    words = json.loads((folder / "tokenizer_config.json").read_text())
    del words["tokenizer_class"]
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    text = "the cat said 12 + 7"
    ids = transformers.AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    assert ids != trained.tokenizer.encode(text)


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory):
    return export_model(tmp_path_factory.mktemp("at") / "llama", exported_model("llama"))


QUIET = {
    "report_to": [], "use_cpu": True, "bf16": False, "save_strategy": "no", "logging_steps": 1,
    "disable_tqdm": True, "seed": 0,
}  # fmt: skip


def test_trl_fine_tunes_the_folder_from_our_loss(llama_folder, tmp_path):
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    trained = exported_model("llama")
    chat = [{"role": "user", "content": "7+5=?"}, {"role": "assistant", "content": "12"}]
    trainer = trl.SFTTrainer(
        str(llama_folder),
        args=trl.SFTConfig(str(tmp_path), max_steps=4, learning_rate=1e-2, max_length=64, **QUIET),
        train_dataset=datasets.Dataset.from_list([{"messages": chat}] * 8),
    )
    text = END_OF_TEXT + render_chat(chat)
    ids = trained.tokenizer.encode(text, allowed_special="all")
    assert trainer.train_dataset[0]["input_ids"] == ids
    with torch.no_grad():
        logits = trained.model(torch.tensor([ids[:-1]]))[0]
        want = F.cross_entropy(logits, torch.tensor(ids[1:])).item()
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert losses[0] == pytest.approx(want, rel=1e-4) and losses[-1] < 0.9 * want


def test_trl_practises_on_the_folder(llama_folder, tmp_path):
    """GRPO reads our prompts, tells rewards whole texts, and moves the weights."""
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    asked = []

    def reward(prompts, completions, **_):
        asked.extend(message["content"] for (message,) in prompts)
        return [float(len(set(message["content"]))) for (message,) in completions]

    rows = [{"prompt": [{"role": "user", "content": f"{n}+5=?"}]} for n in range(8)]
    words = {"num_generations": 4, "max_completion_length": 8, "learning_rate": 1e-2}
    trainer = trl.GRPOTrainer(
        str(llama_folder),
        reward_funcs=reward,
        args=trl.GRPOConfig(str(tmp_path), max_steps=2, **words, **QUIET),
        train_dataset=datasets.Dataset.from_list(rows),
    )
    trainer.train()
    before = dict(load_hf(llama_folder).named_parameters())
    trainer.save_model(str(tmp_path / "after"))
    after = dict(load_hf(tmp_path / "after").named_parameters())
    assert set(asked) <= {f"{n}+5=?" for n in range(8)} and len(asked) >= 16
    assert all(not torch.equal(weights, after[name]) for name, weights in before.items())
