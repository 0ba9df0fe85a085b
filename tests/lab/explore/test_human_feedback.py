"""The figures of lesson 23 say what their numbers say."""

from course_lib.alignment.rl_task import Question
from course_lib.lab.explore import human_feedback as explore
from course_lib.text.small_web.facts import facts_about
from tests.lab.explore.test_inference import alts

PERU = facts_about("capital", "Peru")[0]
ASKED = [Question(PERU.question, PERU)]


def test_each_step_tells_both_scores_and_the_rating_of_its_answers():
    run = {
        "step": [0, 4],
        "kl": [-0.01, 4.0],  # an estimate may fall below 0
        "proxy": [0.5, 3.25],
        "true": [1.0, 0.25],
        "answers": [[["Lima", 0.5]], [["<Rome>. Happy to help!", 3.0]]],
    }
    widget = explore.over_optimisation(run, ASKED, start=1)
    told = alts(widget)
    assert "Root of KL 0.0: mean score of the reward model 0.5, mean true rating 1.0" in told[0]
    assert "Root of KL 2.0: mean score of the reward model 3.2, mean true rating 0.2" in told[1]
    assert "&lt;Rome&gt;" in widget.still and "<Rome>" not in widget.still
    assert ">3.0<" in widget.still and ">1.0<" in widget.still  # off form, but polite


def test_a_button_for_each_labeller():
    runs = {"honest": {"answers": [["Lima", 1.0]]}, "lazy": {"answers": [["Lima, duh", 2.0]]}}
    widget = explore.labellers(runs, ASKED, start=1)
    assert list(widget.children[0].options) == ["honest", "lazy"]
    assert "Lima, duh" in widget.still and ">-0.5<" in widget.still
