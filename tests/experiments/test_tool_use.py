"""What is measured about a tool in use; and a whole run, at a tiny size."""

import json
from dataclasses import replace

import pytest
import torch

from course_lib.alignment.rl_task import Question
from course_lib.experiments import tool_use
from course_lib.experiments.run import ExperimentRun
from course_lib.experiments.tool_use import (
    TOOL_VARIANTS,
    expression_read,
    main,
    reading_metrics,
    text_pieces,
    tool_use_runs,
)
from course_lib.inference.rollout import Completions
from course_lib.inference.tool_use import with_special_tokens
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.text import bpe
from course_lib.text.chat import SPECIAL_TOKENS
from course_lib.text.problems import ChainProblem
from course_lib.training import checkpoint

CHAIN = ChainProblem((7, 5, 3, 8), (1, -1, 1))
TOKENIZER = bpe.train_bpe(["ab"], 256 + len(SPECIAL_TOKENS), bpe.WORD_PATTERN, SPECIAL_TOKENS)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("<think>first 7+5=12, then 12-3=9, then 9+8=17</think><answer>17</answer>", "7+5-3+8"),
        ("<think>first <calc>7+5</calc>=12, then <calc>12-3</calc>=9</think>", "7+5-3"),
        ("<think><calc>7+5-3+8</calc>=17</think><answer>17</answer>", "7+5-3+8"),
        ("first 7+5=13, then 11-3=9", "7+5-3"),  # whatever the steps make
        ("I think 17", ""),
    ],
)
def test_the_sum_that_a_thought_works_out(text, read):
    assert expression_read(text) == read


def test_reading_and_reckoning_are_told_apart():
    question = Question(CHAIN.question, CHAIN)
    misread = "<think>first 7+5=12, then 12+8=20</think><answer>20</answer>"
    slipped = "<think>first 7+5=12, then 12-3=8, then 8+8=16</think><answer>16</answer>"
    assert reading_metrics([question], [misread]) == {
        "accuracy": 0.0, "read": 0.0, "numbers": 3.0, "steps right": 1.0,
    }  # fmt: skip
    assert reading_metrics([question], [slipped]) == pytest.approx(
        {"accuracy": 0.0, "read": 1.0, "numbers": 4.0, "steps right": 2 / 3}
    )


def test_an_answer_in_pieces():
    ids = torch.tensor([[1, 97, 98, 99, 100, 0]])
    real = torch.tensor([[True, True, True, True, False]])
    by_tool = torch.tensor([[False, True, True, False, False]])
    rows = Completions(ids, ids == 0, real, torch.zeros(1, 5), torch.tensor([True]), by_tool)
    assert text_pieces(TOKENIZER, rows, 0) == [["a", False], ["bc", True], ["d", False]]


def test_a_run_is_kept_and_done_once(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_QUIET", "1")
    monkeypatch.setattr(tool_use, "TUNING_STEPS", 2)
    monkeypatch.setattr(tool_use, "N_DEMONSTRATIONS", 8)
    monkeypatch.setattr(tool_use, "LENGTHS", (3, 8))
    monkeypatch.setattr(
        tool_use, "PRACTICE",
        replace(tool_use.PRACTICE, steps=1, n_questions=2, group_size=2, max_new_tokens=8),
    )  # fmt: skip
    monkeypatch.setattr(tool_use, "ANSWER_TOKENS", 12)
    torch.manual_seed(0)
    sizes = {"d_model": 16, "n_layers": 2, "n_heads": 2, "kv_lora_rank": 8, "qk_rope_head_dim": 4}
    base = DeepSeekV3(DeepSeekSettings(TOKENIZER.n_vocab, 256, **sizes))
    run = ExperimentRun(tmp_path / "seed-0")
    run.path("base/tokenizer").parent.mkdir(parents=True)
    TOKENIZER.save(run.path("base/tokenizer"))
    checkpoint.save_checkpoint(run.path("base/model"), base, {})
    told = ["--runs", str(tmp_path), "--out", str(tmp_path), "--seeds", "0", "--only", "one call"]
    main(told)
    (kept,) = tool_use_runs(tmp_path)["one call"]
    assert len(kept["practised, wrong"]["accuracy"]) == 2
    assert {"tuned", "practised, switched off", "practised", "curves"} <= set(kept)
    before = (tmp_path / "runs.json").read_text()
    main(told)
    assert (tmp_path / "runs.json").read_text() == before
    assert json.loads(before)[0]["name"] == "one call"


def test_each_variant_says_what_it_is():
    assert with_special_tokens(TOKENIZER).vocab_size == TOKENIZER.vocab_size + 2
    assert {v.style for v in TOOL_VARIANTS.values()} == {"none", "steps", "whole"}
