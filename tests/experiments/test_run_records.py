"""The file of runs, and the command lines of the experiments that keep one."""

import importlib

import pytest
import torch

from course_lib.experiments import run_records

COMMANDS = (
    "balancing bert_changes compressed_recall connection_rates control_runs dense_changes"
    " expert_runs fact_memory grpo_changes gym_runs human_feedback kv_sharing label_students"
    " latent_attention ngram_memory permutation_runs r1_steps real_model_runs sft_runs small_berts"
    " sparse_attention student_berts tool_use"
).split()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_called_as_it_says_and_wants_a_folder(name, capsys):
    command = importlib.import_module(f"course_lib.experiments.{name}")
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    told = capsys.readouterr().out
    assert told.startswith(f"usage: python -m course_lib.experiments.{name} ")
    assert "--seeds" in told and "folder for" in told and ".json" in told
    with pytest.raises(SystemExit, match="2"):
        command.main([])
    assert "required: " in (told := capsys.readouterr().err) and "--out" in told


def test_records_are_opened_where_no_folder_is_and_found_again(tmp_path):
    n_threads = torch.get_num_threads()
    try:
        records = run_records.open_records(tmp_path / "new" / "folder", "some.json")
        assert torch.get_num_threads() == 1 and records.runs == []
        records.get(lambda: {"accuracy": 0.5}, name="a", seed=0)
        found = run_records.open_records(tmp_path / "new" / "folder", "some.json")
        assert found.runs == [{"name": "a", "seed": 0, "accuracy": 0.5}]
    finally:
        torch.set_num_threads(n_threads)


def test_seeds_are_three_unless_a_command_says_others():
    parser = run_records.runs_parser("some_runs", "What it is.\n\nMore.", seeds=(5, 6))
    assert parser.description == "What it is."
    assert parser.parse_args(["--out", "x"]).seeds == [5, 6]
    assert run_records.runs_parser("other").parse_args(["--out", "x"]).seeds == [0, 1, 2]
    assert parser.parse_args(["--out", "x", "--seeds", "7", "8"]).seeds == [7, 8]
