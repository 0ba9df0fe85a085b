"""The figures of lesson 20 say what their numbers say."""

import torch

from course_lib.lab.explore import mixture_of_experts as explore
from tests.lab.explore.test_inference import alts


def test_tokens_walk_to_the_experts_that_were_chosen():
    chosen = torch.tensor([[[0, 2], [2, 1]], [[1, 0], [0, 2]]])
    weights = torch.tensor([[[0.5, 0.25], [0.6, 0.3]], [[0.4, 0.2], [0.75, 0.125]]])
    text = explore.RoutedText(["Once", "<b>"], chosen, weights, n_experts=3)
    widget = explore.walk({"tale": text, "shop": text}, start=(0, 1))
    told = alts(widget)
    assert len(told) == 4
    assert "tale, token 1, &#x27;Once&#x27;: in layer 2 experts 0 (0.50) and 2 (0.25)" in told[0]
    assert "in layer 3 experts 0 (0.75) and 2 (0.12)" in told[3]
    assert "<b><" not in widget.still  # the text is escaped


def test_loads_tell_the_busiest_and_the_dead():
    even, uneven = torch.ones(4), torch.tensor([0.0, 3.0, 0.05, 0.95])
    told = alts(explore.loads({"a": [even, uneven], "b": [even, even]}, [1, 9], start=1))
    assert "a: the busiest expert has 1.0 times a fair load, 0 dead" in told[0]
    assert "Step 9. a: the busiest expert has 3.0 times a fair load, 2 dead. b: the" in told[1]
