"""Figures show what they are given, with alternative text, and refuse what does not fit."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_lib.lab import plots

ALT = "Two curves that fall from left to right"


@pytest.fixture
def shown(monkeypatch):
    """What is displayed."""
    found = []
    monkeypatch.setattr(plots, "display", lambda bundle, raw: found.append(bundle))
    yield found
    plt.close("all")


def axes():
    return plt.subplots()[1]


def test_a_figure_is_shown_as_html_with_alternative_text_and_closed(shown):
    plots.show(axes().figure, ALT)
    (bundle,) = shown
    assert set(bundle) == {"text/html", "image/png", "text/plain"} and bundle["text/plain"] == ALT
    assert bundle["text/html"].startswith(
        f'<img alt="{ALT}" src="data:image/png;base64,{bundle["image/png"]}"'
    )
    assert plt.get_fignums() == []


DRAWINGS = [
    lambda **k: plots.lines(
        {"a": ([1, 2], [3, 4]), "b": ([1, 2], [[3, 4], [5, 6]])}, x="x", y="y", **k
    ),
    lambda **k: plots.bars({"a": 1, "b": [1, 2, 3], "c": -2}, x="x", highlight=["b"], **k),
    lambda **k: plots.ladder({"gzip": 3, "gpt": [1, 2]}, neural=["gpt"], **k),
    lambda **k: plots.heatmap([[1, -2], [3, 4]], rows="ab", columns="cd", **k),
    lambda **k: plots.histogram({"a": [1, 2, 3], "b": [2, 3, 4]}, x="x", **k),
]


@pytest.mark.parametrize("draw", DRAWINGS)
def test_drawings_show_a_figure_or_draw_into_axes(draw, shown):
    draw(alt=ALT, title="A claim")
    assert len(shown) == 1 and plt.get_fignums() == []
    ax = axes()
    draw(ax=ax, title="A claim")
    assert len(shown) == 1 and ax.get_title(loc="left") == "A claim"
    for wrong in ({}, {"alt": ALT, "ax": ax}):
        with pytest.raises(ValueError, match="either alt=... .* or ax=..."):
            draw(**wrong)
    with pytest.raises(ValueError, match="alternative text"):
        draw(alt="too short")


def test_lines_draw_the_mean_and_the_band_of_the_seeds():
    ax = axes()
    plots.lines({"a": ([1, 2, 3], [[1, 2, 3], [3, 4, 8]])}, x="step", y="loss", ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [2, 3, 5.5])
    band = ax.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band} >= {(1, 1), (1, 3), (3, 3), (3, 8)}
    assert "2 seeds" in ax.get_xlabel()


def test_lines_are_told_apart_without_colour_and_named_at_their_ends():
    ax = axes()
    plots.lines(
        {name: ([1, 2], [1, 1 + i / 100]) for i, name in enumerate("abcd")}, x="x", y="y", ax=ax
    )
    assert len({line.get_linestyle() + line.get_marker() for line in ax.lines}) == 4
    heights = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert sorted(heights, key=heights.get) == list("abcd")
    assert min(np.diff(sorted(heights.values()))) > 0.07, "names overlap"


def test_bars_are_means_with_whiskers():
    ax = axes()
    plots.bars({"a": [1, 2, 6], "b": -4}, x="score", ax=ax)
    assert [bar.get_width() for bar in ax.patches] == [3, -4]
    assert list(ax.lines[0].get_xdata()) == [1, 6]
    assert [text.get_text() for text in ax.texts] == ["3", "-4"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


def test_what_is_rounded_to_nothing_has_no_sign():
    ax = axes()
    plots.bars({"a": -0.2, "b": -3.2, "c": 5}, ax=ax, x="x", form="{:.0f} %")
    assert [text.get_text() for text in ax.texts] == ["0 %", "-3 %", "5 %"]


def test_whole_numbers_are_marked_at_whole_numbers():
    ax = axes()
    plots.lines({"a": (range(1, 21), range(20))}, ax=ax, x="step", y="y")
    assert all(tick == int(tick) for tick in ax.get_xticks())


def test_the_ladder_ranks_and_tells_neural_from_not():
    ax = axes()
    plots.ladder({"gpt": 2.0, "uniform": 8, "gzip": 3.4}, neural=["gpt"], ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["uniform", "gzip", "gpt"]
    assert [bar.get_hatch() for bar in ax.patches] == ["///", "///", ""]
    with pytest.raises(ValueError, match="'bert'"):
        plots.ladder({"gpt": 2.0}, neural=["bert"], ax=ax)


def test_the_heat_map_centres_signed_numbers_and_stays_readable():
    ax = axes()
    plots.heatmap([[-1, 4], [0, 2]], ax=ax)
    assert ax.images[0].get_clim() == (-4, 4)
    assert [text.get_text() for text in ax.texts] == ["-1", "4", "0", "2"]
    assert {text.get_color() for text in ax.texts} == {plots.BLACK, "white"}
    ax = axes()
    plots.heatmap(np.ones((40, 40)), ax=ax)
    assert ax.texts == [] or len(ax.texts) == 0


def test_a_histogram_shows_shares_over_common_bins():
    ax = axes()
    plots.histogram({"a": [0, 0, 1, 1], "b": [1]}, x="x", bins=[0, 0.5, 1], ax=ax)
    assert [list(patch.get_data().values) for patch in ax.patches[::2]] == [[0.5, 0.5], [0, 1]]


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (
            lambda ax: plots.lines({"a": ([1, 2], [1, 2, 3])}, x="x", y="y", ax=ax),
            "line 'a': 2 x values",
        ),
        (lambda ax: plots.heatmap([1, 2], ax=ax), r"got shape \(2,\)"),
        (lambda ax: plots.heatmap([[1, 2]], columns="abc", ax=ax), "3 labels for 2 columns"),
        (lambda ax: plots.heatmap([[1, 2]], rows="ab", ax=ax), "2 labels for 1 rows"),
    ],
)
def test_what_does_not_fit_is_refused(draw, words):
    with pytest.raises(ValueError, match=words):
        draw(axes())
    plt.close("all")


@pytest.mark.parametrize("colour", [*plots.COLOURS, plots.YELLOW])
def test_text_in_a_colour_can_be_read_on_white(colour):
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in plots.text_colour(colour)
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (luminance + 0.05) >= 4.5


def test_red_is_written_as_it_is():
    """Cards write text in it."""
    assert plots.text_colour(plots.RED) == plots.to_rgb(plots.RED)
