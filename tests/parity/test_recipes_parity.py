"""The bases of the experiments' recipes and all shipped models, written to a folder and opened by
transformers."""

import pytest
import torch

from course_lib.experiments.r1 import LAPTOP_RECIPE, SHIPPED_R1
from course_lib.experiments.search import SEARCH_RECIPE, SHIPPED_SEARCH
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.hf_files import save_hf

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize(
    "numbers", [LAPTOP_RECIPE.base, SEARCH_RECIPE.model], ids=["chains", "search"]
)
def test_the_base_of_a_recipe_opens_there_with_equal_logits(numbers, tmp_path):
    torch.manual_seed(0)
    ours = DeepSeekV3(DeepSeekSettings(50, 24, **numbers)).eval()
    for parameter in ours.parameters():
        parameter.data.normal_(std=0.3)
    assert_opens_there(ours, tmp_path)


@pytest.mark.parametrize(
    ("run", "stage"),
    [(SHIPPED_R1, stage) for stage in ("base", "zero", "r1", "student")]
    + [(SHIPPED_SEARCH, stage) for stage in ("base", "search")],
    ids=lambda part: part if isinstance(part, str) else part.folder.name,
)
def test_a_shipped_model_opens_there_with_equal_logits(run, stage, tmp_path):
    assert_opens_there(run.load(stage).eval(), tmp_path)


def assert_opens_there(ours, folder):
    """The logits of 2 rows of 24 random tokens are the same there, to the rounding of float32."""
    save_hf(ours, folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        folder, experts_implementation="eager"
    )
    ids = torch.randint(ours.settings.vocab_size, (2, 24))
    torch.testing.assert_close(ours(ids), theirs.eval()(ids).logits, rtol=1e-4, atol=1e-4)
