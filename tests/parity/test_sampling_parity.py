"""Our filters of the next token against those of transformers."""

import pytest
import torch

from course_lib.inference.generate import (
    apply_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_token_probs,
    penalise_repeats,
)

pytest.importorskip("transformers")
from transformers.generation.logits_process import (  # noqa: E402
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

IDS = torch.randint(50, (4, 9), generator=torch.Generator().manual_seed(1))
LOGITS = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(lambda logits, p=p: penalise_repeats(logits, IDS, p), RepetitionPenaltyLogitsProcessor(p)) for p in (0.7, 1.3)]
    + [(lambda logits, t=t: apply_temperature(logits, t), TemperatureLogitsWarper(t)) for t in (0.3, 1.7)]
    + [(lambda logits, k=k: keep_top_k(logits, k), TopKLogitsWarper(k)) for k in (1, 7, 60)]
    + [(lambda logits, p=p: keep_top_p(logits, p), TopPLogitsWarper(p)) for p in (0.05, 0.5, 0.93)]
    + [(lambda logits, p=p: keep_min_p(logits, p), MinPLogitsWarper(p)) for p in (0.0, 0.03, 0.4)],
)
def test_each_filter_equals_theirs(ours, theirs):
    torch.testing.assert_close(ours(LOGITS).softmax(-1), theirs(IDS, LOGITS.clone()).softmax(-1))


@pytest.mark.parametrize("top_p", [0.6, 0.95])
@pytest.mark.parametrize("min_p", [0.02, 0.3])
def test_all_knobs_together_act_in_their_order(top_p, min_p):
    chain = LogitsProcessorList([
        RepetitionPenaltyLogitsProcessor(1.4), TemperatureLogitsWarper(1.5), TopKLogitsWarper(20),
        TopPLogitsWarper(top_p), MinPLogitsWarper(min_p),
    ])  # fmt: skip
    ours = next_token_probs(LOGITS, 1.5, 20, top_p, min_p, repetition_penalty=1.4, ids=IDS)
    torch.testing.assert_close(ours, chain(IDS, LOGITS.clone()).softmax(-1))
