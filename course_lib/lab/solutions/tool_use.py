"""Solution of the exercise on a tool's tokens, quoted in the notebook."""

from collections.abc import Callable, Sequence


def loss_mask_solution(
    ids: Sequence[int], begin: int, end: int, answer: Callable[[list[int]], list[int]]
) -> list[bool]:
    mask, call, by_tool = [], None, 0
    for token in ids:
        mask.append(by_tool == 0)
        if by_tool:
            by_tool -= 1
        elif token == begin:
            call = []
        elif token == end and call is not None:
            by_tool, call = len(answer(call)), None
        elif call is not None:
            call.append(token)
    return mask
