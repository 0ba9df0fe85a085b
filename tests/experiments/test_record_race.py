"""The race: plain is tuned on validation text, and the shortest run that gets there counts."""

import pytest

from course_lib.experiments import record_race
from course_lib.experiments.record import RecordRun
from course_lib.experiments.record_race import main, race_table, run_race
from course_lib.experiments.run_records import RunRecords


@pytest.fixture
def runs(monkeypatch):
    """Stand in for training: plain is best at rate 0.016 and 8 rows; the best one needs 7 s."""
    made = []

    def run(recipe, seed, seconds, documents=None):
        made.append((recipe.name, recipe.about, seed, seconds, documents))
        if recipe.name == "plain":
            bits = 2.0 - 0.5 * ("8 windows" in recipe.about.split(", ")[-1][:9])
            bits -= 0.1 * ("0.016" in recipe.about)
        else:
            bits = 1.4 if seconds >= 7 else 1.41
        return RecordRun(seed, bits, seconds * 1.01, 100, 1000, 7)

    monkeypatch.setattr(record_race, "run_entry", run)
    monkeypatch.setattr(record_race, "validation_documents", lambda _: ("tuning text",))
    return made


def test_the_ratio_is_that_of_the_shortest_run_that_reaches_the_tuned_plain_one(runs, tmp_path):
    races = run_race(RunRecords(tmp_path / "race.json"), 40.0, (5, 6))
    assert [race["seed"] for race in races] == [5, 6]
    assert races[0]["tuned"] == (0.016, 8, 64)
    assert races[0]["best"]["seconds"] == pytest.approx(1.01 * 8)  # 40 / 6 is too short
    assert races[0]["ratio"] == pytest.approx(5.0)
    tuning = [run for run in runs if run[-1] == ("tuning text",)]
    assert len(tuning) == 6 and all(name == "plain" for name, *_ in tuning)
    held_out = [run for run in runs if run[-1] is None and run[0] == "plain"]
    assert [seed for _, _, seed, *_ in held_out] == [5, 6]
    assert "| 8 x 64, rate 0.016 | 5 | 1.400 in 40.4 s, 100 steps |" in race_table(races)


def test_a_stopped_command_goes_on_and_one_that_is_done_trains_nothing(runs, tmp_path, capsys):
    asked = ["--out", str(tmp_path / "race.json"), "--seeds", "0"]
    main(asked)
    first, told = len(runs), capsys.readouterr().out
    main(asked)
    assert len(runs) == first and told.endswith(capsys.readouterr().out)


def test_a_best_recipe_that_never_gets_there_is_said(runs, tmp_path):
    with pytest.raises(RuntimeError, match=r"seed 0: 1.400 is not reached in 6.1 s"):
        run_race(RunRecords(tmp_path / "race.json"), 12.0, (0,))
