"""Checker of the exercise on a tool's tokens. The truth is read off texts in which each token of
the tool is marked by hand."""

from collections.abc import Callable, Sequence

from course_lib.lab.checks.core import Attempt, checker
from course_lib.lab.checks.slips import judge_by_slips

BEGIN, END, STOP = 90, 91, 99

# each text in words: a number is the model's token, [..] stands around what the tool wrote
MARKED_TEXTS = (
    "5 < 7 > [7 0] 6 99",  # one call
    "< 1 2 3 > [6 0] 5 < 6 4 > [10 0] 99",  # two calls
    "5 6 99",  # no call
    "< 4 99",  # ends inside of a call
    "< 4 > [4",  # cut off inside of an answer
    "5 > 6 > 7 99",  # ends without a beginning
    "< > [0 0] 5",  # nothing in the call
    "< 8 < 66 > [1 1 1 1 1] 5",  # begun anew
    "< 88 > [< 1 >] 5 5 99",  # the tool writes what looks like a call
    "< 77 > 5 6",  # an answer of no tokens
    "< 66 > [1 1 1 1 1] 5",  # a long one
    "",
)
LONG = {(88,): [BEGIN, 1, END], (77,): [], (66,): [1, 1, 1, 1, 1]}


def _tool(call: Sequence[int]) -> list[int]:
    """Answer with the sum of the call and a 0; some calls get a longer or a shorter answer."""
    return list(LONG.get(tuple(call), [sum(call), 0]))


def _read(marked: str) -> tuple[list[int], list[bool]]:
    ids, mask, own = [], [], True
    for word in marked.split():
        own = own and not word.startswith("[")
        bare = word.strip("[]")
        ids.append({"<": BEGIN, ">": END}[bare] if bare in "<>" else int(bare))
        mask.append(own)
        own = own or word.endswith("]")
    return ids, mask


MASKS = {tuple(ids): mask for ids, mask in map(_read, MARKED_TEXTS)}
CASES = [(list(ids), BEGIN, END, _tool) for ids in MASKS]


def _truth(ids: Sequence[int], *_: object) -> list[bool]:
    return MASKS[tuple(ids)]


def _followed(
    ids: Sequence[int],
    answer: Callable,
    *,
    closed: bool = True,
    deaf: bool = True,
    anew: bool = True,
    n_fixed: int | None = None,
    first: bool = False,
) -> list[bool]:
    """Follow a text with one part of the rule left out."""
    mask, call, left, told = [], [] if not closed else None, 0, False
    for token in ids:
        mask.append(left == 0)
        if left:
            left -= 1
            if deaf:
                continue
        if token == BEGIN:
            call = [] if anew or call is None else [*call, token]
        elif token == END and call is not None:
            if not (first and told):
                left = len(answer(call)) if n_fixed is None else n_fixed
            told, call = True, None if closed else []
        elif call is not None:
            call.append(token)
    return mask


def _slips(
    ids: Sequence[int], begin: int, end: int, answer: Callable
) -> list[tuple[list[bool], str]]:
    right = _truth(ids)
    inside, calls = False, []
    for token, own in zip(ids, right, strict=True):
        inside = own and (inside or token == begin)
        calls.append(inside)
        inside = inside and token != end
    return [
        ([True] * len(ids), "nothing is masked: the model would learn to write the tool's answers"
         " itself."),
        ([not own for own in right], "the mask is upside down: True is for what the model wrote."),
        ([own and not called for own, called in zip(right, calls, strict=True)],
         "the calls are masked as well. The model wrote them, and it must learn to."),
        ([own and token != end for own, token in zip(right, ids, strict=True)],
         "the token that ends a call is masked. The model wrote it."),
        (([True] + right)[: len(ids)], "the mask comes one token too late."),
        ((right[1:] + [True])[: len(ids)], "the mask comes one token too early."),
        ([all(right[: i + 1]) for i in range(len(ids))],
         "everything behind the first answer is masked. The model goes on writing there."),
        (_followed(ids, answer, closed=False),
         "an end without a beginning was answered. Nobody called there."),
        (_followed(ids, answer, deaf=False),
         "what the tool wrote was read as a call. Only what the model writes can call."),
        (_followed(ids, answer, anew=False),
         "a call that is begun anew holds what stands behind the *last* beginning."),
        (_followed(ids, answer, n_fixed=2),
         "every answer is taken for two tokens long. Ask the tool: `len(answer(call))`."),
        (_followed(ids, answer, first=True), "only the first call of a text is answered."),
    ]  # fmt: skip


@checker
def loss_mask(attempt: Attempt) -> str:
    def called(ids: Sequence[int], *_: object) -> str:
        return f"loss_mask({list(ids)}, begin={BEGIN}, end={END}, answer)"

    judge_by_slips(attempt, CASES, _truth, _slips, called)
    return "what the tool wrote is read, never learnt."
