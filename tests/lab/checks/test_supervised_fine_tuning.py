"""The checkers of lesson 22 accept right answers and name typical slips."""

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.alignment.lora import LoRALinear
from course_lib.alignment.sft import sft_batch, sft_examples
from course_lib.lab.checks import supervised_fine_tuning as check
from course_lib.lab.solutions import supervised_fine_tuning as solutions
from course_lib.tasks.demonstrations import as_dialogue
from course_lib.text import bpe
from course_lib.text.batches import same_document
from course_lib.text.chat import END_OF_TEXT, SPECIAL_TOKENS, chat_spans
from course_lib.training.objectives import next_token_loss_sum
from tests.lab.checks.cases import Case, tests_of

IGNORE = -100


def skeleton_1(a): ...


def skeleton_2(a, b): ...


def skeleton_4(a, b, c, d): ...


def skeleton_5(a, b, c, d, e): ...


# Targets
# --------------------------------------------------------------------------------------------------


def targets(pieces, learns=lambda learn: learn, fill=IGNORE, cut=True):
    inputs, wanted = [], []
    for tokens, learn in pieces:
        inputs += tokens
        wanted += tokens if learns(learn) else [fill] * len(tokens)
    return (inputs[:-1], wanted[1:]) if cut else (inputs, wanted)


def targets_mask_of_inputs(pieces):
    inputs, wanted = targets(pieces, cut=False)
    rows = zip(inputs[1:], wanted[:-1], strict=True)
    return inputs[:-1], [IGNORE if at == IGNORE else token for token, at in rows]


def targets_without_end(pieces):
    inputs, wanted = [], []
    for tokens, learn in pieces:
        inputs += tokens
        wanted += [*tokens[:-1], IGNORE] if learn and tokens else [IGNORE] * len(tokens)
    return inputs[:-1], wanted[1:]


def targets_inputs_masked(pieces):
    _, wanted = targets(pieces, cut=False)
    return wanted[:-1], wanted[1:]


# Loss
# --------------------------------------------------------------------------------------------------


def loss(logits, wanted, reduce=None):
    counts = wanted != IGNORE
    logs = logits.log_softmax(-1).flatten(0, 1)
    surprise = F.nll_loss(logs, wanted.flatten(), reduction="none").view(wanted.shape)
    if reduce:
        return reduce(surprise, counts)
    return surprise.sum() / counts.sum().clamp(min=1)


def loss_by_selection(logits, wanted):
    counts = wanted != IGNORE
    if not counts.any():
        return 0.0 * logits.sum()
    return -logits[counts].log_softmax(-1).gather(1, wanted[counts][:, None]).mean()


def loss_of_token_zero(logits, wanted):
    return F.cross_entropy(logits.flatten(0, 1), wanted.clamp(min=0).flatten())


def loss_nan(logits, wanted):
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten())


def loss_without_softmax(logits, wanted):
    counts = wanted != IGNORE
    picked = logits.gather(-1, wanted.clamp(min=0)[..., None])[..., 0]
    return -(picked * counts).sum() / counts.sum().clamp(min=1)


def loss_that_overflows(logits, wanted):
    counts = wanted != IGNORE
    log_z = logits.exp().sum(-1).log()
    picked = logits.gather(-1, wanted.clamp(min=0)[..., None])[..., 0]
    return ((log_z - picked) * counts).sum() / counts.sum().clamp(min=1)


# Mask
# --------------------------------------------------------------------------------------------------


def mask(examples, sees=lambda a, b: a == b, cut=torch.tril):
    return cut(sees(examples[:, :, None], examples[:, None, :]))


# LoRA
# --------------------------------------------------------------------------------------------------


def lora(x, W, A, B, alpha, scale=None):
    scale = alpha / A.shape[0] if scale is None else scale
    return F.linear(x, W) + scale * F.linear(F.linear(x, A), B)


def factors(change, rank, power=1.0, smallest=False):
    U, S, Vh = torch.linalg.svd(change, full_matrices=False)
    kept = slice(len(S) - rank, None) if smallest else slice(rank)
    return Vh[kept], U[:, kept] * S[kept] ** power


def factors_of_roots(change, rank):
    U, S, Vh = torch.linalg.svd(change)
    root = S[:rank].sqrt()
    return root[:, None] * Vh[:rank], U[:, :rank] * root


# Micro-batches
# --------------------------------------------------------------------------------------------------


def combined(means, counts):
    kept = [(m, c) for m, c in zip(means, counts, strict=True) if c > 0]
    return sum(m * c for m, c in kept) / sum(c for _, c in kept)


def weighed(means, counts):
    return sum(m * c for m, c in zip(means, counts, strict=True))


# Rejection
# --------------------------------------------------------------------------------------------------


def keep(questions, answers, is_good, most, same=False, all_=False, order=1):
    kept = []
    for question, texts in zip(questions, answers, strict=True):
        good = []
        for text in texts[::order]:
            if (all_ or is_good(question, text)) and (same or text not in good):
                good.append(text)
        kept.extend((question, text) for text in good[:most])
    return kept


def keep_unordered(questions, answers, is_good, most):
    return [[q, a] for q, a in keep(questions, answers, is_good, most)]


CASES = {
    check.answer_targets: Case(
        solution=solutions.answer_targets_solution,
        skeleton=skeleton_1,
        also_right=[targets, lambda pieces: [torch.tensor(part) for part in targets(pieces)]],
        wrong=[
            (lambda pieces: targets(pieces, cut=False), "are not shifted"),
            (targets_mask_of_inputs, "not to the one that is predicted"),
            (lambda pieces: targets(pieces, lambda learn: not learn), "the other way round"),
            (lambda pieces: targets(pieces, lambda learn: True), "everything is learnt"),
            (targets_without_end, "never learns to stop"),
            (lambda pieces: targets(pieces)[::-1], "inputs first and then the targets"),
            (lambda pieces: targets(pieces, fill=0), "which is a token as well"),
            (targets_inputs_masked, "the inputs are masked as well"),
            (lambda pieces: targets(pieces)[1], "return two things"),
        ],
    ),
    check.answer_loss: Case(
        solution=solutions.answer_loss_solution,
        skeleton=skeleton_2,
        also_right=[loss, loss_by_selection],
        wrong=[
            (lambda x, y: loss(x, y, lambda s, c: s.mean()), "divided by all places"),
            (
                lambda x, y: loss(x, y, lambda s, c: (s.sum(1) / c.sum(1).clamp(min=1)).mean()),
                "the mean of the rows' means",
            ),
            (lambda x, y: loss(x, y, lambda s, c: s.sum()), "this is the sum"),
            (lambda x, y: -loss(x, y), "the sign is wrong"),
            (loss_of_token_zero, "counted as token 0"),
            (lambda x, y: loss(x, y) / 0.6931471805599453, "this is in bits"),
            (loss_without_softmax, "not log-probabilities"),
            (loss_nan, "Look out for 0 / 0"),
            (lambda x, y: loss_nan(x, y).nan_to_num(), "to write it yourself"),
            (lambda x, y: loss(x, y).item(), "no gradient"),
            (loss_that_overflows, "near 1000"),
        ],
    ),
    check.packed_mask: Case(
        solution=solutions.packed_mask_solution,
        skeleton=skeleton_1,
        also_right=[mask, same_document, lambda examples: mask(examples).tolist()],
        wrong=[
            (lambda e: mask(e, lambda a, b: a.eq(a) & b.eq(b)), "the plain causal mask"),
            (lambda e: mask(e, cut=lambda m: m), "its own future"),
            (lambda e: mask(e, cut=torch.triu), "what comes after it"),
            (lambda e: ~mask(e), "may *not* look"),
            (lambda e: mask(e, cut=lambda m: m.tril(-1)), "does not see itself"),
            (lambda e: mask(e, lambda a, b: b <= a), "a larger number"),
            (lambda e: mask(e, lambda a, b: (a == b) & (a >= 0)), "padding sees nothing"),
            (lambda e: mask(e).int(), "holds True and False"),
        ],
    ),
    check.lora_output: Case(
        solution=solutions.lora_output_solution,
        skeleton=skeleton_5,
        also_right=[lora, lambda x, W, A, B, a: (x @ W.mT) + (x @ A.mT) @ (B * a / len(A)).mT],
        wrong=[
            (lambda x, W, A, B, a: lora(x, W, A, B, a, a), "multiplied by alpha. LoRA divides"),
            (lambda x, W, A, B, a: lora(x, W, A, B, a, a / len(A) ** 0.5), "That is rsLoRA"),
            (lambda x, W, A, B, a: lora(x, W, A, B, a, 1.0), "not scaled"),
            (lambda x, W, A, B, a: lora(x, W, A, B, a, 1 / len(A)), "alpha is missing"),
            (lambda x, W, A, B, a: lora(x, 0 * W, A, B, a), "the change alone"),
            (lambda x, W, A, B, a: x @ W.T, "the frozen matrix alone"),
            (lambda x, W, A, B, a: F.linear(x, W + a / len(A) * B @ A), "the thin way"),
            (lambda x, W, A, B, a: a / len(A) * (x @ (W + B @ A).T), "scaled as well"),
            (lambda x, W, A, B, a: lora(x, W, A, B, a, -a / len(A)), "subtracted"),
            (lambda x, W, A, B, a: lora(x, W, A, B, a, a / A.shape[1]), "the number of rows of A"),
        ],
    ),
    check.best_low_rank: Case(
        solution=solutions.best_low_rank_solution,
        skeleton=skeleton_2,
        also_right=[factors, factors_of_roots],
        wrong=[
            (lambda c, r: factors(c, r)[::-1], "return A (r, I) first"),
            (lambda c, r: factors(c, r, power=0.0), "singular values are missing"),
            (lambda c, r: factors(c, r, power=2.0), "in both A and B"),
            (lambda c, r: factors(c, r, smallest=True), "the smallest singular values"),
            (lambda c, r: (c[:r], torch.eye(len(c))[:, :r]), "misses the change by"),
            (lambda c, r: tuple(part.T for part in factors(c, r)), "has the shape"),
            (lambda c, r: factors(c, r)[1] @ factors(c, r)[0], "return two things"),
        ],
    ),
    check.combine_losses: Case(
        solution=solutions.combine_losses_solution,
        skeleton=skeleton_2,
        also_right=[combined, lambda m, c: torch.tensor(combined(m, c))],
        wrong=[
            (lambda m, c: sum(m) / len(m), "the mean of the means"),
            (weighed, "this is the sum over all targets"),
            (lambda m, c: weighed(m, c) / len(m), "the number of micro-batches"),
            (lambda m, c: sum(m), "the sum of the means"),
            (
                lambda m, c: sum(a / b for a, b in zip(m, c, strict=True)) / sum(1 / b for b in c),
                "weighed by 1 / count",
            ),
            (lambda m, c: weighed(m, c) / sum(c), "yours spreads"),
        ],
    ),
    check.keep_answers: Case(
        solution=solutions.keep_answers_solution,
        skeleton=skeleton_4,
        also_right=[keep, keep_unordered],
        wrong=[
            (lambda *case: keep(*case, all_=True), "wrong answers are kept"),
            (lambda *case: keep(*case, same=True), "kept twice"),
            (lambda q, a, good, most: keep(q, a, good, 99), "more than `most`"),
            (lambda q, a, good, most: keep(q, a, good, 1), "only one answer to each"),
            (
                lambda q, a, good, most: keep(q, [texts[:most] for texts in a], good, most),
                "only the first `most` answers are looked at",
            ),
            (lambda q, a, good, most: keep(q, a, good, 99)[:most], "for each question anew"),
            (lambda *case: keep(*case, order=-1), "the last ones are kept first"),
            (lambda *case: [pair[::-1] for pair in keep(*case)], "Return (question, answer)"),
            (lambda *case: [text for _, text in keep(*case)], "the answers alone"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)


def test_the_exercises_are_what_the_library_does():
    tokenizer = bpe.train_bpe(["User: 7+5=?\nAssistant: 12 "] * 3, 270, bpe.WORD_PATTERN,
                              SPECIAL_TOKENS)  # fmt: skip
    messages = as_dialogue("7+5=?", "12")
    pieces = [
        (tokenizer.encode(text, allowed_special="all"), learn)
        for text, learn in chat_spans(messages)
    ]
    pieces[0] = ([tokenizer.special_tokens[END_OF_TEXT], *pieces[0][0]], False)
    inputs, wanted = sft_batch(sft_examples(tokenizer, [messages]))
    assert solutions.answer_targets_solution(pieces) == (inputs[0].tolist(), wanted[0].tolist())
    torch.manual_seed(0)
    logits = torch.randn(*inputs.shape, tokenizer.n_vocab)
    torch.testing.assert_close(
        solutions.answer_loss_solution(logits, wanted), next_token_loss_sum(logits, wanted).mean
    )
    examples = torch.tensor([[2, 2, 0, 0, -1]])
    assert torch.equal(solutions.packed_mask_solution(examples), same_document(examples))
    layer, x = LoRALinear(nn.Linear(6, 5, bias=False), rank=3, alpha=4.0), torch.randn(2, 6)
    nn.init.normal_(layer.lora_B)
    parts = layer.linear.weight, layer.lora_A, layer.lora_B
    torch.testing.assert_close(solutions.lora_output_solution(x, *parts, 4.0), layer(x))
