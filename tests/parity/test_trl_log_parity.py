"""A log that TRL itself writes, read by the doctor."""

import math

import pytest

from course_lib.alignment.diagnosis import diagnose
from course_lib.alignment.run_log import TRL_NAMES, from_trl_log


@pytest.fixture(scope="module")
def trl_log(tmp_path_factory):
    """Practise nine steps with TRL's GRPOTrainer: a tiny GPT-2 is paid for its "a"s."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(["<pad>", "<end>", *"abcdefgh"])}
    plain = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<end>"
    )
    size = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 32}
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(words), bos_token_id=1, eos_token_id=1, **size)
    )

    folder = str(tmp_path_factory.mktemp("model"))
    model.save_pretrained(folder)

    def letters(completions, **others):
        return [text.count("a") / 6 for text in completions]

    def watched(completions, **others):
        return [float("a" in text) for text in completions]

    trainer = trl.GRPOTrainer(
        folder,
        [letters, watched],
        args=trl.GRPOConfig(
            str(tmp_path_factory.mktemp("trl")),
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=6,
            max_steps=9,
            logging_steps=1,
            beta=0.01,
            reward_weights=[1.0, 0.0],
            report_to=[],
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_dict({"prompt": ["a b", "c d", "e", "f g h"] * 4}),
        processing_class=tokenizer,
    )
    trainer.train()
    return trainer.state.log_history


def test_the_log_is_read_step_by_step(trl_log):
    names = {"letters": "letters", "watched": "accuracy"}
    got = from_trl_log(trl_log, names, {"watched": 0.0})
    assert {len(values) for values in got.values()} == {9}
    assert got["reward"] == pytest.approx(got["reward: letters"], abs=1e-6)
    of_vllm = {"sampling gap", "largest sampling gap", "ratio"}
    assert set(TRL_NAMES.values()) - set(got) == of_vllm
    assert "accuracy" in got and "reward: accuracy" not in got
    for name, values in got.items():
        assert all(math.isfinite(value) for value in values), name
    for share in ("equal groups", "cut off", "accuracy"):
        assert all(0 <= value <= 1 for value in got[share])
    assert all(1 <= length <= 6 for length in got["length"]) and max(got["gradient norm"]) > 0


def test_the_doctor_says_what_it_could_not_read(trl_log):
    found = diagnose(from_trl_log(trl_log))
    assert found.skipped["wrong mask"] == ("loss tokens",)
    assert found.skipped["stale log-probs"] == ("sampling gap",)
    assert "no useful groups" not in found.skipped and found.fault != "too short"
