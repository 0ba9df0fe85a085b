"""The report card on made-up runs: each number gets where it belongs, and goals are counted as they
are reached."""

import pytest

from course_lib.experiments import ablations, r1_report, search_report
from course_lib.experiments.report_parts import SEED_COLOURS, code_in_cell, save_figure
from course_lib.experiments.search import SEARCH_EXPERIMENTS
from course_lib.files import write_json

SUMS = {"accuracy": 0.25, "format": 0.5, "worked": 0.125, "length": 12.34}
BETTER = {"accuracy": 0.75, "format": 1.0, "worked": 0.875, "length": 33.0}
MEASURED = {name: 0.0 for _, _, name, _ in search_report.SEARCH_MEASURES}


def run_with(seed, experiments=(), models=()):
    """A run with some controls and some models of search."""
    stages = {"base": {"sums": SUMS}, "zero": {"sums": BETTER}}
    curves = {
        name: dict.fromkeys(MEASURED, [1.0, 2.0, 3.0 + seed])
        for name in dict(models)
        if name != "base"
    }
    return {
        "seed": seed, "measures": {"stages": stages}, "experiments": dict(experiments),
        "search": {"measures": dict(models), "curves": curves},
    }  # fmt: skip


def model(tries=1.0, pairs=((1, True), (3, False)), **sampled):
    """What was measured of a model on search; `pairs` are tries and whether the answer was
    right."""
    sampled = (
        MEASURED
        | {"tries of worked": tries}
        | {name.replace("_", " "): x for name, x in sampled.items()}
    )
    group = {"accuracy": 0.5, "tries of worked": tries}
    return search_report.count_by_tries(
        {
            "sampled": sampled,
            "greedy": MEASURED | {"accuracy": 0.375},
            "by numbers": {
                "3": group,
                "4": group | {"tries of worked": tries + 1},
                "5": group | {"tries of worked": 9.5},
                "6": group | {"accuracy": 0.0625},
            },
            "tries and right": [list(pair) for pair in pairs],
            "answers": [["make 4 from 9 5", "9-5"]] * 5,
        }
    )


def row(text, start):
    """The cells of the row of a table that begins with `start`."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return line.strip("| ").split(" | ")[1:]


# ----------------------------------------------------------------------------------------- controls


def test_a_control_is_one_row_with_the_numbers_of_the_seeds_that_made_it():
    strict = {"before": SUMS, "after": BETTER | {"accuracy": 0.625}}
    runs = [
        run_with(0),
        run_with(1, {"strict": strict}),
        run_with(2, {"strict": {"before": BETTER, "after": SUMS}}),
    ]
    text = r1_report.ablations_section(runs)
    assert row(text, "`strict`") == [
        "1, 2",
        "25.0, 75.0 → 62.5, 25.0",
        "50.0, 100.0 → 100.0, 50.0",
        "12.5, 87.5 → 87.5, 12.5",
        "12.3, 33.0 → 33.0, 12.3",
    ]
    assert row(text, "R1-Zero")[:2] == ["0, 1, 2", "25.0, 25.0, 25.0 → 75.0, 75.0, 75.0"]
    assert text.index("| R1-Zero |") < text.index("| `strict` |")
    assert f"- `strict`, seeds 1, 2: {ablations.strict_reward.__doc__.splitlines()[0]}" in text
    assert "filtered" not in text and "naive-judge" not in text


def test_no_control_is_said_to_be_none_and_search_is_not_one():
    assert (
        r1_report.ablations_section([run_with(0, models={"base": model()})])
        == "None has been run here: `--experiment NAME`."
    )
    assert "no-worked" in r1_report.CHAIN_ABLATIONS and not set(r1_report.CHAIN_ABLATIONS) & set(
        SEARCH_EXPERIMENTS
    )


def test_the_naive_judge_has_one_table_of_all_seeds():
    stages = ("sft", "experiments/naive-judge", "r1")
    chats = [dict.fromkeys(stages, {"polite": 0.5 * seed, "score": 1.25 + seed}) for seed in (0, 1)]
    runs = [run_with(seed, {"naive-judge": {"chats": each}}) for seed, each in enumerate(chats)]
    text = r1_report.ablations_section(runs)
    assert row(text, "`naive-judge`") == row(text, "**R1**") == ["1.25, 2.25", "0.0, 50.0"]
    assert text.count("| polite |") == 1 and "| `strict` |" not in text


# ------------------------------------------------------------------------------------------- search


def test_a_run_without_search_has_no_section():
    assert search_report.search_section([run_with(0)]) == []


def goal(runs, start):
    (line,) = [
        line
        for line in search_report.search_goals_table(runs).splitlines()
        if line.startswith(f"| {start}")
    ]
    return line.strip("| ").split(" | ")[1:]


def test_sixty_per_cent_and_two_and_a_half_times_the_tries_are_enough():
    afters = [model(5.0, accuracy=0.6), model(4.98, accuracy=0.59), model(6.0, accuracy=0.7)]
    runs = [
        run_with(i, models={"base": model(2.0), "search": after}) for i, after in enumerate(afters)
    ]
    assert goal(runs, "right after") == ["60.0; 59.0; 70.0", "2 of 3"]
    # 2.49 is not enough
    assert goal(runs, "tries of a worked answer") == ["2.5; 2.5; 3.0", "2 of 3"]
    runs[0]["search"]["measures"]["base"] = model(0.0)
    assert goal(runs, "tries of a worked answer") == ["nan; 2.5; 3.0", "1 of 3"]
    assert "more tries with" not in search_report.search_goals_table(
        runs
    ) and "fewer answers" not in search_report.search_goals_table(runs)


@pytest.mark.parametrize(
    "small, raised, kept, reached", [(2.0, 3.0, 2.5, 1), (2.0, 3.0, 3.0, 0), (3.5, 3.0, 2.0, 0)]
)
def test_growth_resumes_if_more_tokens_give_more_tries_than_few_and_than_before(
    small, raised, kept, reached
):
    tries = {
        search_report.SMALL_BUDGET: small,
        search_report.BUDGET_RAISED: raised,
        search_report.BUDGET_KEPT: kept,
    }
    run = run_with(0, models={name: model(n) for name, n in {"base": 1.0, **tries}.items()})
    assert goal([run], "more tries") == [
        f"{raised:.1f} against {kept:.1f} and {small:.1f}",
        f"{reached} of 1",
    ]


@pytest.mark.parametrize(
    "worked, tries, reached", [(0.2, 1.5, 1), (0.2, 2.0, 0), (0.4, 1.5, 0), (0.5, 3.0, 0)]
)
def test_thinking_shrinks_if_both_its_share_and_its_tries_fall(worked, tries, reached):
    run = run_with(
        0, models={"base": model(2.0, worked=0.4), "search-control": model(tries, worked=worked)}
    )
    assert goal([run], "in `search-control`") == [
        f"{worked:.0%} against 40%, {tries:.1f} against 2.0",
        f"{reached} of 1",
    ]


def test_each_measure_gets_its_row_and_each_model_its_column():
    sampled = {name: 0.01 * i for i, name in enumerate(MEASURED, 1)}
    after = {"sampled": sampled, "greedy": MEASURED | {"accuracy": 0.9}}
    assert set(model()["sampled"]) == set(sampled)
    runs = [run_with(0, models={"base": model(), "search": after}),
            run_with(1, models={"base": model()})]  # fmt: skip
    text = search_report.search_measures_table(runs)
    assert (
        "| base | after `search` |" in text
        and "search-control" not in text
        and "budget" not in text
    )
    assert row(text, "right, %") == ["0.0, 0.0", "1.0"] and row(text, "right, greedy, %") == [
        "37.5, 37.5",
        "90.0",
    ]
    assert (
        row(text, "tries, if worked") == ["1.0, 1.0", "0.0"]
        and row(text, "sums right, % of tries")[1] == "7.0"
    )
    assert row(text, "more than 4 tries, % of worked")[1] == "5.0"
    assert row(text, "false yes, % of tries that say another number")[1] == "9.0"


def test_numbers_of_a_puzzle_have_rows_with_accuracy_and_tries_before_and_after():
    runs = [run_with(0, models={"base": model(1.5), "search": model(6.0)})]
    assert row(search_report.by_numbers_table(runs), "4") == ["50.0", "2.5", "50.0", "7.0"]
    assert row(search_report.by_numbers_table(runs), "6")[2] == "6.2"
    assert "rise in 1 of 1 seeds" in search_report.harder_puzzles(
        runs
    ) and " 6.2 % are right" in search_report.harder_puzzles(runs)
    # 9 and 10 tries, and then 9.5
    runs.append(run_with(1, models={"base": model(1.5), "search": model(9.0)}))
    assert "rise in 1 of 2 seeds" in search_report.harder_puzzles(runs)


PAIRS = [
    (0, True),
    (0, False),
    (1, True),
    (2, True),
    (2, False),
    (5, True),
    (7, False),
    (40, False),
]


def test_answers_are_counted_by_their_tries():
    assert model(pairs=PAIRS)["by tries"] == [
        [0, 2, 1],
        [1, 1, 1],
        [2, 2, 1],
        [5, 1, 1],
        [7, 1, 0],
        [40, 1, 0],
    ]
    runs = [run_with(0, models={"base": model(), "search": model(pairs=PAIRS)})]
    text = search_report.by_tries_table(runs)
    assert row(text, "0") == ["0", "–", "2", "50"] and row(text, "3") == ["1", "0", "0", "–"]
    assert row(text, "5 to 8") == ["0", "–", "2", "50"] and row(text, "17 and more") == [
        "0",
        "–",
        "1",
        "0",
    ]


def test_every_number_of_tries_is_in_one_bin():
    assert all(
        sum(low <= n <= high for low, high in search_report.TRY_BINS) == 1 for n in range(100)
    )


def test_the_tries_of_right_and_wrong_answers_are_means_over_those_with_a_try():
    runs = [
        run_with(0, models={"search": model(pairs=PAIRS)}),  # right 1, 2, 5; wrong 2, 7, 40
        run_with(1, models={"search": model(pairs=[(4, True), (3, False), (2, False)])}),
        run_with(2, models={"search": model(pairs=[(2, False)])}),
    ]
    text = search_report.wrong_or_right_tries(runs)
    assert "is right makes 2.7, 4.0, nan tries" in text and "a wrong one 16.3, 2.5, 2.0:" in text
    assert "more in 1 of 3 seeds" in text


def test_three_answers_are_shown_and_long_ones_lose_their_middle():
    text = search_report.answers_table(run_with(0, models={"base": model(), "search": model()}))
    assert text.count("| `make 4 from 9 5` | `9-5` | `9-5` |") == 3
    assert search_report.shorten_answer("x" * 300) == "x" * 300
    assert search_report.shorten_answer("a" * 200 + "b" * 200) == "a" * 150 + " ... " + "b" * 150
    assert code_in_cell("a|b\nc") == "`a\\|b c`"


def test_a_section_tells_only_of_what_was_made():
    text = "\n".join(
        search_report.search_section(
            [run_with(3, models={"base": model(), "search-control": model()})]
        )
    )
    assert (
        "- `search-control`, seed 3: Practise for any expression" in text
        and "- `countdown`," not in text
    )
    assert (
        "search.svg" not in text and "budget.svg" not in text and "Measured on 2 held-out" in text
    )


# ------------------------------------------------------------------------------------------ figures

BUDGET = {
    name: model()
    for name in (
        "base",
        search_report.SMALL_BUDGET,
        search_report.BUDGET_RAISED,
        search_report.BUDGET_KEPT,
    )
}


def test_each_seed_has_a_curve_and_keeps_its_colour_if_another_is_missing(tmp_path):
    runs = [run_with(0), run_with(1, models=BUDGET | {"search": model()})]
    thin, mean = search_report.search_curves(runs).axes[0].lines
    assert (
        list(thin.get_ydata()) == [1, 2, 4] and list(mean.get_ydata()) == [pytest.approx(7 / 3)] * 3
    )
    assert (
        mean.get_color() == SEED_COLOURS[1]
        and mean.get_label() == "seed 1"
        and list(mean.get_xdata()) == [1, 2, 3]
    )
    search_report.draw_search_figures(runs, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["budget.svg", "search.svg"]
    save_figure(search_report.search_curves(runs), tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "search.svg").read_bytes()


def test_the_budget_parts_where_it_is_raised():
    run = run_with(0, models=BUDGET)
    run["search"]["curves"] = {
        name: dict.fromkeys(MEASURED, [n, n])
        for name, n in (
            (search_report.SMALL_BUDGET, 1.0),
            (search_report.BUDGET_RAISED, 5.0),
            (search_report.BUDGET_KEPT, 2.0),
        )
    }
    before, mark, raised, kept = search_report.budget_figure([run]).axes[1].lines
    assert list(before.get_xdata()) == [1, 2] and list(mark.get_xdata()) == [2, 2]
    assert list(raised.get_xdata()) == [2, 3, 4] and list(raised.get_ydata()) == [1, 5, 5]
    assert list(kept.get_ydata()) == [1, 2, 2] and (
        raised.get_linestyle(),
        kept.get_linestyle(),
    ) == ("-", "--")


def test_an_experiment_that_is_not_done_is_not_read(tmp_path):
    (tmp_path / "experiments/search").mkdir(parents=True)
    (tmp_path / "search/search").mkdir(parents=True)
    write_json(
        tmp_path / "search/search/history.json", "history", 1, {"measures": {"accuracy": [0.5]}}
    )
    assert search_report.read_search_run(tmp_path) == {"measures": {}, "curves": {}}
    result = {"tries and right": [[1, True]], "answers": [["a", "b"]], "sampled": {"accuracy": 1.0}}
    write_json(
        tmp_path / "experiments/search/result.json", "data", 1, {"base": result, "search": result}
    )
    found = search_report.read_search_run(tmp_path)
    assert found["curves"] == {"search": {"accuracy": [0.5]}}
    assert found["measures"]["base"] == {
        "sampled": {"accuracy": 1.0},
        "answers": [["a", "b"]],
        "by tries": [[1, 1, 1]],
    }
