"""Checkers of lesson 14. The truths are loops over single tokens, and arithmetic by hand."""

import math

import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips

MASK, UNASKED = 3, -100


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 1
# --------------------------------------------------------------------------------------------------


def _cell_by_cell(rule):
    """Make a corruption of a rule for one token: id, chosen, dice, other, mask -> id."""

    def corrupted(ids, chosen, dice, others, mask_token):
        rows = zip(ids.tolist(), chosen.tolist(), dice.tolist(), others.tolist(), strict=True)
        return torch.tensor(
            [[rule(*cell, mask_token) for cell in zip(*row, strict=True)] for row in rows]
        )

    return corrupted


@checker
def corrupt_tokens(attempt: Attempt) -> str:
    """Put [MASK], the token itself or another in the place of each chosen token."""
    cases = []
    for seed, (N, T) in enumerate([(2, 12), (1, 30), (4, 9)]):
        rng = torch.Generator().manual_seed(seed)
        ids, others = torch.randint(5, 60, (2, N, T), generator=rng) + torch.tensor(
            [[[0]], [[100]]]
        )
        chosen = torch.rand(N, T, generator=rng) < 0.6
        dice = torch.rand(N, T, generator=rng, dtype=torch.double)
        chosen[0, :8] = True
        dice[0, :8] = torch.tensor(
            [0.1, 0.8, 0.85, 0.9, 0.95, 0.79, 0.89, 0.99], dtype=torch.double
        )
        cases.append((ids, chosen, dice, others, MASK + seed))

    def rule(token, hidden, die, other, mask):
        if not hidden:
            return token
        return mask if die < 0.8 else token if die < 0.9 else other

    def swapped(token, hidden, die, other, mask):
        return token if not hidden else mask if die < 0.8 else other if die < 0.9 else token

    slips = [
        (
            lambda token, hidden, die, other, mask: mask if hidden else token,
            "all chosen tokens became [MASK]. Of ten, one stays and one becomes another.",
        ),
        (
            lambda token, hidden, die, other, mask: rule(token, True, die, other, mask),
            "tokens that were not chosen are changed too: `chosen` is True where you may.",
        ),
        (
            lambda token, hidden, die, other, mask: rule(token, not hidden, die, other, mask),
            "it is the other way round: `chosen` is True where a token is to be hidden.",
        ),
        (
            swapped,
            "the last two cases have changed places: from 0.8 to 0.9 a token stays, from 0.9 on it"
            " becomes another.",
        ),
        (
            lambda token, hidden, die, other, mask: (
                token if not hidden else mask if die < 0.8 else other
            ),
            "no chosen token stays as it is: between 0.8 and 0.9 the model reads the token itself.",
        ),
        (
            lambda token, hidden, die, other, mask: mask if hidden and die < 0.8 else token,
            "no token becomes another: from 0.9 on, `others` stands there.",
        ),
        (
            lambda token, hidden, die, other, mask: rule(token, hidden, 1 - die, other, mask),
            "the die is read from the other end: [MASK] is for dice *below* 0.8.",
        ),
        (
            lambda token, hidden, die, other, mask: (
                token if not hidden else mask if die <= 0.8 else token if die <= 0.9 else other
            ),
            "a die of exactly 0.8 or 0.9 belongs to the next case: [MASK] is for dice below 0.8.",
        ),
        (
            lambda token, hidden, die, other, mask: (
                token if not hidden else mask if die < 0.8 else token if die <= 0.9 else other
            ),
            "a die of exactly 0.9 means another token: one stays for dice below 0.9.",
        ),
        (
            lambda token, hidden, die, other, mask: (
                token if not hidden else mask if die <= 0.8 else token if die < 0.9 else other
            ),
            "a die of exactly 0.8 means that the token stays: [MASK] is for dice below 0.8.",
        ),
        (
            lambda token, hidden, die, other, mask: (
                other if die >= 0.9 else mask if hidden and die < 0.8 else token
            ),
            "another token stands also where none was chosen: a die counts only where `chosen` is"
            " True.",
        ),
        (
            lambda token, hidden, die, other, mask: (
                UNASKED if not hidden else rule(token, hidden, die, other, mask)
            ),
            "-100 stands where nothing was chosen. That is for the targets; the model has to read"
            " these tokens.",
        ),
        (
            lambda token, hidden, die, other, mask: (
                token if not hidden else mask if die < 0.8 else token if die < 0.9 else mask
            ),
            "no token becomes another: from 0.9 on, `others` stands there, not [MASK].",
        ),
    ]
    made = [(_cell_by_cell(slip), sentence) for slip, sentence in slips]
    judge_by_slips(attempt, cases, _cell_by_cell(rule), made, lambda *case: "what the model reads")
    return "right: a model can't tell from a token alone whether it was chosen."


# Exercise 2
# --------------------------------------------------------------------------------------------------


@checker
def hidden_loss(attempt: Attempt) -> str:
    """Average the surprise at the hidden tokens alone."""
    cases = []
    for seed, (B, T, V, asked) in enumerate(
        [(2, 5, 7, [(0, 1), (0, 3), (1, 0)]), (3, 4, 4, [(2, 2)]), (1, 6, 9, [(0, 0), (0, 5)])]
    ):
        targets = torch.full((B, T), UNASKED)
        for number, (row, column) in enumerate(asked):
            targets[row, column] = (3 * number + seed) % V
        cases.append((2 * _draw(B, T, V, seed=seed), targets))

    def surprises(logits, targets):
        """Give a list of surprises for each row, token by token."""
        rows = []
        for scores, wanted in zip(logits.double().tolist(), targets.tolist(), strict=True):
            asked = [(s, t) for s, t in zip(scores, wanted, strict=True) if t != UNASKED]
            rows.append([math.log(sum(math.exp(x - s[t]) for x in s)) for s, t in asked])
        return rows

    def of_all(change):
        def made(logits, targets):
            rows = surprises(logits, targets)
            return change([x for row in rows for x in row], rows, targets)

        return made

    def mean(values):
        return sum(values) / len(values)

    truth = of_all(lambda values, rows, targets: mean(values))
    slips = [
        (
            of_all(lambda values, rows, targets: sum(values) / targets.numel()),
            "the sum is divided by all places. Divide by the number of hidden ones: the others were"
            " not asked.",
        ),
        (
            of_all(lambda values, rows, targets: sum(values)),
            "this is the sum over the hidden tokens. The loss is their mean.",
        ),
        (
            of_all(lambda values, rows, targets: -mean(values)),
            "the sign is wrong: a surprise is *minus* the log of a probability, so never negative.",
        ),
        (
            of_all(lambda values, rows, targets: mean([mean(row) for row in rows if row])),
            "you average each row, then the rows. Every hidden token counts alike, also in a row"
            " that has more of them.",
        ),
        (
            of_all(lambda values, rows, targets: sum(values) / len(targets)),
            "the sum is divided by the number of rows. Divide by the number of hidden tokens.",
        ),
        (
            of_all(lambda values, rows, targets: mean([x / math.log(2) for x in values])),
            "this is in bits. The course's loss is in nats: the natural logarithm.",
        ),
        (
            of_all(lambda values, rows, targets: mean([math.exp(-x) for x in values])),
            "this is the mean probability. The loss is the mean of minus its logarithm.",
        ),
        (
            of_all(lambda values, rows, targets: -mean([math.exp(-x) for x in values])),
            "this is minus the mean probability: the logarithm is missing, `log_softmax`.",
        ),
        (
            lambda logits, targets: mean(
                [x for row in surprises(logits, targets.clamp(min=0)) for x in row]
            ),
            "places with the target -100 are asked for token 0. Leave them out before the loss.",
        ),
        (
            of_all(lambda values, rows, targets: values),
            "this is a list of surprises, one per hidden token. The loss is their mean.",
        ),
        (
            lambda logits, targets: truth(logits.double().softmax(-1), targets),
            "the softmax is taken twice. `cross_entropy` takes it by itself: give it the scores.",
        ),
        (
            lambda logits, targets: (
                -mean(
                    logits[targets != UNASKED]
                    .gather(1, targets[targets != UNASKED][:, None])[:, 0]
                    .tolist()
                )
            ),
            "the scores have not gone through a softmax: take the log of probabilities.",
        ),
    ]
    judge_by_slips(attempt, cases, truth, slips, lambda *case: "the loss")
    loss = attempt(cases[0][0].requires_grad_(), cases[0][1])
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise Wrong(
            "the number is right, but no gradient reaches the scores: keep to tensors, a float"
            " can't be trained on."
        )
    return "right: what was not hidden teaches nothing here, it only helps to guess."


# Exercise 3
# --------------------------------------------------------------------------------------------------


@checker
def pair_row(attempt: Attempt) -> str:
    """Write [CLS] A [SEP] B [SEP] with its segments and the class of the pair."""
    document, other = [[11, 12], [13], [14, 15, 16]], [[21], [22, 23]]
    cases = [
        (document, 1, None, 1, 2),
        (document, 2, other, 1, 2),
        (other, 1, None, 8, 9),
        (document, 1, [[31, 32, 33, 34]], 1, 2),
    ]

    def made(first_end=0, borders=True, second_cls=False, last=True, truth_is=0, always=False):
        def row(document, cut, other, cls_token, sep_token):
            first, second = [cls_token], [cls_token] if second_cls else []
            for sentence in document[:cut]:
                first += sentence
            for sentence in document[cut:] if other is None or always else other:
                second += sentence
            second += [sep_token] if last else []
            ids = [*first, *([sep_token] if borders else []), *second]
            zeros = len(first) + (1 if borders else 0) - first_end
            label = truth_is if other is None else 1 - truth_is
            return ids, [0] * zeros + [1] * (len(ids) - zeros), label

        return row

    truth = made()
    slips = [
        (
            made(truth_is=1),
            "the classes have changed places: 0 means that B follows A, 1 that it does not.",
        ),
        (made(first_end=1), "the first [SEP] ends the first text, so it is of segment 0."),
        (made(borders=False), "the [SEP] between the two texts is missing."),
        (made(last=False), "the second text ends with a [SEP] too."),
        (made(second_cls=True), "[CLS] stands once, in front of the whole row."),
        (made(always=True), "B is the document's own end even where another document is given."),
        (
            lambda *case: (truth(*case)[0][1:], truth(*case)[1][1:], truth(*case)[2]),
            "[CLS] is missing: the row begins with it, and it is of segment 0.",
        ),
        (
            lambda *case: (truth(*case)[0], [1 - s for s in truth(*case)[1]], truth(*case)[2]),
            "the segments have changed places: the first text, with [CLS], is 0.",
        ),
        (
            lambda *case: (truth(*case)[0], [s + 1 for s in truth(*case)[1]], truth(*case)[2]),
            "segments are counted from 0: the table of segments has the rows 0 and 1.",
        ),
        (
            lambda document, cut, other, *borders: (
                truth(document, cut, document[:cut] if other is None else other, *borders)[:2]
                + (int(other is not None),)
            ),
            "B repeats the first text. It begins where A ends, at the cut.",
        ),
        (
            lambda document, cut, other, *borders: (
                truth(
                    document, cut, document[cut : cut + 1] if other is None else other[:1], *borders
                )[:2]
                + (int(other is not None),)
            ),
            "B is one sentence only. It is all that is left behind the cut, or all that is given.",
        ),
        (
            lambda document, cut, other, *borders: truth(
                document, cut, other and other[cut:], *borders
            ),
            "the other document is cut too. B is all of it: `cut` is A's number of sentences.",
        ),
        (
            lambda document, cut, other, *borders: truth(document[cut - 1 :], 1, other, *borders),
            "A is one sentence only. It is all sentences before the cut.",
        ),
    ]

    def unjoined(document, cut, other, cls_token, sep_token):
        first = [cls_token, *document[:cut], sep_token]
        second = [*(document[cut:] if other is None else other), sep_token]
        return first + second, [0] * len(first) + [1] * len(second), int(other is not None)

    def cut_by_tokens(document, cut, other, *borders):
        tokens = [token for sentence in document for token in sentence]
        return truth([tokens[:cut], tokens[cut:]], 1, other, *borders)

    slips += [
        (unjoined, "whole sentences stand in the row. Join each text to one list of ids."),
        (cut_by_tokens, "the cut counts sentences, not tokens: no sentence is broken."),
    ]

    def plain(got):
        if not isinstance(got, tuple | list) or len(got) != 3:
            raise Wrong(f"return three things, ids, segments and label; got {describe(got)}")
        ids, segments, label = got
        label = int(label) if isinstance(label, bool | Tensor) else label
        return [*_numbers(ids), "|", *_numbers(segments), "|", label]

    def flat(answer):
        return lambda *case: plain(answer(*case))

    judge_by_slips(
        attempt,
        cases,
        flat(truth),
        [(flat(slip), sentence) for slip, sentence in slips],
        lambda document, cut, other, *_: (
            f"ids | segments | label of {document} cut at {cut}"
            + (" with its own end" if other is None else f" with {other}")
        ),
        plain=plain,
    )
    return "right: the segments tell the model where one text ends, the label whether they belong."


def _numbers(values):
    """Give a list of numbers as such, tensors too."""
    if isinstance(values, Tensor):
        return values.tolist()
    if not isinstance(values, list | tuple):
        raise Wrong(f"ids and segments are lists of numbers; got {describe(values)}")
    return list(values)


# Exercise 4
# --------------------------------------------------------------------------------------------------


@checker
def token_positions(attempt: Attempt) -> str:
    """Number the tokens of each row, whichever side it is padded on."""
    cases = [
        (torch.tensor([[5, 6, 7, 1, 1], [5, 8, 9, 4, 3]]), 1),
        (torch.tensor([[1, 1, 5, 6, 7], [1, 9, 9, 9, 5]]), 1),
        (torch.tensor([[0, 3, 4, 0], [2, 2, 0, 0], [0, 0, 0, 7]]), 0),
        (torch.tensor([[9, 4, 4, 9, 6, 9]]), 4),
    ]

    def counted(start=1, at_pad=0, skip=True, pad=True):
        def made(ids, pad_token):
            rows = []
            for row in ids.tolist():
                n, numbers = pad_token + start - 1, []
                for token in row:
                    n += not (skip and token == pad_token)
                    hidden = pad and token == pad_token
                    numbers.append(pad_token + at_pad if hidden else n)
                rows.append(numbers)
            return torch.tensor(rows)

        return made

    truth = counted()
    slips = [
        (
            counted(skip=False, pad=False),
            "columns are counted, padding too: then a row padded on the left has other positions.",
        ),
        (
            counted(skip=False),
            "padding is counted, so a row padded on the left has other positions. Count the tokens"
            " alone.",
        ),
        (
            counted(start=0),
            "the first token has the position of padding. Tokens are numbered from pad_token + 1.",
        ),
        (counted(start=2), "the first token's position is pad_token + 1, not more."),
        (
            lambda ids, pad_token: truth(ids, pad_token) - pad_token,
            "positions are counted from 1. RoBERTa's begin behind padding's own: add pad_token.",
        ),
        (
            lambda ids, pad_token: (truth(ids, pad_token) - pad_token - 1).clamp(min=0),
            "positions are counted from 0, as BERT's. RoBERTa's begin at pad_token + 1.",
        ),
        (
            counted(pad=False),
            "padding has the position of the token before it. It has its own, pad_token.",
        ),
        (
            lambda ids, pad_token: truth(ids, pad_token).where(ids != pad_token, 0),
            "padding has the position 0. RoBERTa gives it pad_token, whose row stays zero.",
        ),
        (
            lambda ids, pad_token: (
                (ids != pad_token).long().flatten().cumsum(0).view_as(ids) * (ids != pad_token)
                + pad_token
            ),
            "counting goes on from one row to the next: each row begins anew.",
        ),
        (
            lambda ids, pad_token: (
                (ids != pad_token).long().cumsum(0) * (ids != pad_token) + pad_token
            ),
            "counting goes down the columns. It goes along each row.",
        ),
        (
            lambda ids, pad_token: (ids == pad_token).long().cumsum(1) + pad_token,
            "padding is counted instead of the tokens.",
        ),
    ]
    judge_by_slips(
        attempt, cases, truth, slips, lambda ids, pad: f"the positions of {ids.tolist()}"
    )
    if torch.as_tensor(attempt.result).is_floating_point():
        raise Wrong(
            "the numbers are right, but they are floats. A position is the number of a row in a"
            " table: a whole number."
        )
    return "right: a text has the same positions on whichever side it is padded."


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def cut_word(attempt: Attempt) -> str:
    """Cut a word into the longest known pieces, from its front."""
    pieces = {"un", "##aff", "##able", "##a", "a", "able", "##b", "b", "play", "##er", "##e", "ab"}
    pieces |= {"##s", "player", "##layers", "p", "##un", "c", "##le", "##ab"}
    words = ["unaffable", "players", "able", "abab", "unun", "cab", "unx", "xun", "play", "paffx"]
    words += ["unable", "b", "z"]
    cases = [(word, frozenset(pieces)) for word in words]
    cases.append(("ababab", frozenset({"a", "abab", "##ab"})))
    cases.append(("abcd", frozenset({"abc", "ab", "##cd"})))  # a shorter first piece would fit
    cases += [("undo", frozenset({"un", "do"})), ("undo", frozenset({"##un", "##do"}))]

    def cut(word, pieces, inside="##", shortest=False, unknown=None, skip=False):
        found = []
        while word:
            prefix = inside if found else ""
            sizes = range(1, len(word) + 1)
            known = [n for n in sizes if prefix + word[:n] in pieces]
            if not known:
                if skip:
                    word = word[1:]
                    continue
                return unknown(found) if unknown else ["[UNK]"]
            n = known[0] if shortest else known[-1]
            found.append(prefix + word[:n])
            word = word[n:]
        return found

    def variant(**change):
        return lambda word, pieces: cut(word, pieces, **change)

    def with_way_back(word, pieces, prefix=""):
        for n in range(len(word), 0, -1):
            rest = with_way_back(word[n:], pieces, "##")
            if prefix + word[:n] in pieces and rest is not None:
                return [prefix + word[:n], *rest]
        return None if word else []

    truth = variant()
    slips = [
        (
            lambda word, pieces: with_way_back(word, pieces) or ["[UNK]"],
            "a shorter piece is tried where the longest leads nowhere. WordPiece never goes back:"
            " then the word is [UNK].",
        ),
        (
            variant(inside=""),
            "pieces inside a word are looked up without `##`. Behind the first piece it belongs to"
            " the name.",
        ),
        (
            lambda word, pieces: cut(word, pieces | {f"##{piece}" for piece in pieces}),
            "inside a word a piece without `##` is taken as well. It is known by its whole name.",
        ),
        (
            lambda word, pieces: cut(word, pieces | {p.removeprefix("##") for p in pieces}),
            "a piece with `##` is taken at the front as well. It stands inside a word only.",
        ),
        (
            variant(shortest=True),
            "the *shortest* known piece is taken. Begin with the whole rest, and shorten it.",
        ),
        (
            variant(unknown=lambda found: [*found, "[UNK]"]),
            "a word of which a part is unknown is unknown as a whole: [UNK] alone.",
        ),
        (
            variant(unknown=lambda found: found),
            "what is left has no piece, and the word is cut short. It is unknown as a whole:"
            " [UNK].",
        ),
        (variant(unknown=lambda found: []), "a word that cannot be cut is one [UNK], not nothing."),
        (
            variant(skip=True),
            "letters without a piece are left out. The word is unknown as a whole: [UNK].",
        ),
        (
            lambda word, pieces: [piece.removeprefix("##") for piece in truth(word, pieces)],
            "the pieces are right, but `##` is missing: it belongs to a piece's name.",
        ),
        (
            lambda word, pieces: [word] if word in pieces else ["[UNK]"],
            "only whole words are looked up. A word that is not known is cut into pieces.",
        ),
        (
            lambda word, pieces: truth(word, pieces)[:1],
            "this is the first piece only. Go on behind it until the word is used up.",
        ),
        (
            lambda word, pieces: truth(word, pieces)[::-1],
            "the pieces come in the wrong order: from the front.",
        ),
        (
            lambda word, pieces: (
                [None] if truth(word, pieces) == ["[UNK]"] else truth(word, pieces)
            ),
            "a word that cannot be cut is the list with the one piece [UNK].",
        ),
    ]
    judge_by_slips(attempt, cases, truth, slips, lambda word, _: f"the pieces of {word!r}")
    return "right: longest first, from the front, without a second thought."


# Exercise 6
# --------------------------------------------------------------------------------------------------


@checker
def mean_pooling(attempt: Attempt) -> str:
    """Average the vectors of each row's tokens, padding left out."""
    paddings = [
        torch.tensor([[False, False, True, True], [False, False, False, True]]),
        torch.tensor([[True, False, False], [False, True, True]]),
        torch.tensor([[False, False]]),
    ]
    cases = [
        (_draw(*padding.shape, 3 + seed, seed=seed), padding)
        for seed, padding in enumerate(paddings)
    ]

    def rows_of(hidden, padding, change):
        rows = zip(hidden, padding.tolist(), strict=True)
        return torch.stack(
            [
                change(torch.stack([x for x, out in zip(row, pads, strict=True) if not out]), row)
                for row, pads in rows
            ]
        )

    def by_rows(change):
        return lambda hidden, padding: rows_of(hidden, padding, change)

    truth = by_rows(lambda real, row: sum(real.unbind()) / len(real))
    slips = [
        (
            by_rows(lambda real, row: row.sum(0) / len(row)),
            "padding is in the mean: two texts that differ in padding alone get other vectors.",
        ),
        (
            by_rows(lambda real, row: real.sum(0) / len(row)),
            "padding is left out of the sum, but still counted: divide by the number of tokens.",
        ),
        (
            by_rows(lambda real, row: real.sum(0)),
            "this is the sum. A long text would get a longer vector: divide by its tokens.",
        ),
        (
            lambda hidden, padding: (
                rows_of(hidden, ~padding, lambda real, row: real.mean(0))
                if (padding.any(1)).all()
                else hidden * math.nan
            ),
            "it is the other way round: `padding` is True where there is *no* token.",
        ),
        (by_rows(lambda real, row: row[0]), "this is the first column alone, [CLS] in most rows."),
        (
            by_rows(lambda real, row: real.amax(0)),
            "this is the largest number of each column: max pooling. Asked for is the mean.",
        ),
        (
            by_rows(lambda real, row: real.mean(0) / real.mean(0).norm()),
            "the means are right, but scaled to length 1. Here they should stay as they are.",
        ),
        (
            lambda hidden, padding: hidden[~padding].mean(0).expand(len(hidden), -1),
            "all rows are averaged together. Each row is a text, with a vector of its own.",
        ),
        (
            by_rows(lambda real, row: row.sum(0) / len(real)),
            "padding is not counted, but its vectors are still in the sum.",
        ),
        (
            lambda hidden, padding: (hidden * ~padding[..., None]).sum(1) / (~padding).sum(),
            "the sums are divided by the tokens of all rows. Each row has its own number.",
        ),
    ]
    judge_by_slips(attempt, cases, truth, slips, lambda *case: "the rows' vectors")
    hidden, padding = cases[0]
    changed = hidden.masked_fill(padding[..., None], 50.0)
    expect(attempt(changed, padding), truth(hidden, padding), "with other numbers at padding")
    return "right: padding changes nothing."
