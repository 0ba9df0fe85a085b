"""Learning rates of connections: what a run measures, and what the record holds."""

import math

from course_lib.experiments import connection_rates
from course_lib.experiments.v4_block import CONNECTIONS, DeepNet
from course_lib.models.gpt2 import count_parameters


def test_a_run_measures_loss_gain_and_gradient():
    still = connection_rates.measure_rate("residual", rate=1e-9, seed=0, steps=12)
    assert abs(still["loss"] - math.log(31)) < 0.2 and still["gain"] == 1
    wild = connection_rates.measure_rate("HC", rate=0.1, seed=0, steps=12)
    assert wild["gain"] > 2 and wild["longest_gradient"] > still["longest_gradient"]


def test_the_wide_residual_has_as_many_parameters_as_four_streams():
    sizes = {kind: count_parameters(DeepNet(kind, depth=24)) for kind in CONNECTIONS}
    assert (
        abs(sizes["wide residual"] / sizes["HC"] - 1) < 0.01 > abs(sizes["mHC"] / sizes["HC"] - 1)
    )


def test_the_command_makes_what_is_missing_alone(tmp_path):
    asked = ["--out", str(tmp_path), "--seeds", "0", "--steps", "12"]
    connection_rates.main(asked)
    made = (tmp_path / "runs.json").read_text()
    connection_rates.main(asked)
    assert (tmp_path / "runs.json").read_text() == made and made.count("kind") == 16


def test_the_record_is_whole():
    for runs in connection_rates.read_rates().values():
        assert [len(found) for found in runs] == [3, 3, 3, 3]
        assert [run["rate"] for found in runs for run in found[:1]] == list(
            connection_rates.CONNECTION_RATES
        )
