"""What encoders are trained for: hidden tokens, pairs of texts, a teacher's answers."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.text.batches import IGNORE_INDEX
from course_lib.text.factorisation import unseen_in_order
from course_lib.training.objectives import LossSum, Objective, next_token_loss_sum


def masked_lm_objective(
    model: nn.Module, inputs: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]
) -> LossSum:
    """Average the surprise at the hidden tokens; tokens that are the model's padding are unheard.

    The head, the costly part, is asked at the hidden places alone.
    """
    hidden = model.hidden(inputs, padding=inputs == model.settings.pad_token)
    asked = targets != IGNORE_INDEX
    return next_token_loss_sum(model.logits(hidden[asked])[None], targets[asked][None])


def permutation_lm_loss(logits: Float[Tensor, "B K V"], labels: Int[Tensor, "B K"]) -> LossSum:
    """Average the surprise at XLNet's targets, each told its place and what comes before it."""
    return next_token_loss_sum(logits, labels)


def pair_loss(logits: Float[Tensor, "B 2"], labels: Int[Tensor, "B"]) -> Float[Tensor, ""]:
    """Average the surprise at the classes of pairs of texts: NSP's loss, and SOP's.

    BERT and ALBERT add it to the mean over the hidden tokens.
    """
    return F.cross_entropy(logits, labels)


def soft_label_loss(
    student: Float[Tensor, "N V"], teacher: Float[Tensor, "N V"], temperature: float = 2.0
) -> Float[Tensor, ""]:
    """Average how far the student's distribution is from the teacher's, both softened: T^2 KL.

    Logits are divided by the temperature T before the softmax; the factor T^2 keeps the size of the
    gradient. Source: Hinton et al. 2015 (arXiv 1503.02531), section 2; in DistilBERT, L_ce.

    >>> soft_label_loss(torch.zeros(1, 2), torch.tensor([[0.0, 2.0]]))
    tensor(0.4438)
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} is not above 0")
    wanted = (teacher.detach() / temperature).log_softmax(-1)
    got = (student / temperature).log_softmax(-1)
    return temperature**2 * (wanted.exp() * (wanted - got)).sum(-1).mean()


def hidden_cosine_loss(
    student: Float[Tensor, "N C"], teacher: Float[Tensor, "N C"]
) -> Float[Tensor, ""]:
    """Average one minus the cosine between what stands in the two streams: DistilBERT's L_cos.

    >>> hidden_cosine_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    tensor(0.2929)
    """
    return (1 - F.cosine_similarity(student, teacher.detach(), dim=-1)).mean()


def distillation_objective(
    teacher: nn.Module,
    weights: tuple[float, float, float] = (5.0, 2.0, 1.0),
    temperature: float = 2.0,
) -> Objective:
    """Make DistilBERT's objective: soft labels, hidden tokens, cosine of the streams, weighted.

    Soft labels are asked at the hidden tokens, the cosine at all that are no padding: a mean over
    others, so that a batch is not to be cut. A part whose weight is 0 is not computed. The defaults
    are the release's. Source: arXiv 1910.01108, section 3. Differs from the release's default,
    which asks for soft labels at all tokens; the hidden ones alone are an option there.
    """
    soft, true, cosine = weights
    if min(weights) < 0 or not sum(weights):
        raise ValueError(f"weights {weights} must not be below 0, nor all 0")

    def objective(
        student: nn.Module, inputs: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]
    ) -> LossSum:
        padding, asked = inputs == student.settings.pad_token, targets != IGNORE_INDEX
        hidden = student.hidden(inputs, padding=padding)
        logits = student.logits(hidden[asked])
        theirs = teacher_hidden(teacher, inputs, padding)
        loss, n = logits.sum() * 0.0, asked.sum()
        if true and n:
            loss = loss + true * F.cross_entropy(logits, targets[asked])
        if soft and n:
            with torch.no_grad():
                wanted = teacher.logits(theirs[asked])
            loss = loss + soft * soft_label_loss(logits, wanted, temperature)
        if cosine:
            loss = loss + cosine * hidden_cosine_loss(hidden[~padding], theirs[~padding])
        return LossSum(loss * n, n, "the cosine of all tokens" if cosine else "")

    return objective


@torch.no_grad()
def teacher_hidden(
    teacher: nn.Module, inputs: Int[Tensor, "B T"], padding: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T C"]:
    """Read a batch as the teacher does, without a gradient."""
    return teacher.hidden(inputs, padding=padding)


def masked_pair_objective(pair_weight: float = 1.0) -> Objective:
    """Make the objective of BERT and ALBERT: hidden tokens, and the class of a pair of texts.

    `inputs` (B, 2, T) holds tokens and segments, `targets` (B, 1 + T) the class of the pair in
    front, then the hidden tokens; IGNORE_INDEX where nothing is asked. The two means are added, the
    pair's times `pair_weight`; with 0 its head is not asked.
    """
    if not pair_weight >= 0:
        raise ValueError(f"pair_weight {pair_weight} is below 0")

    def objective(
        model: nn.Module, inputs: Int[Tensor, "B 2 T"], targets: Int[Tensor, "B N"]
    ) -> LossSum:
        (ids, segments), labels, words = inputs.unbind(1), targets[:, 0], targets[:, 1:]
        hidden = model.hidden(ids, segments, ids == model.settings.pad_token)
        asked, paired = words != IGNORE_INDEX, labels != IGNORE_INDEX
        loss, n = F.cross_entropy(model.logits(hidden[asked]), words[asked]), asked.sum()
        if pair_weight and paired.any():
            scores = model.pair_logits(hidden[paired])
            loss = loss + pair_weight * pair_loss(scores, labels[paired])
        return LossSum(loss * n, n, "the mean over pairs")

    return objective


def permutation_lm_objective(pad_token: int) -> Objective:
    """Make XLNet's objective: average the surprise at the columns `targets`, in their order.

    What is no target is heard by all, and `pad_token` by none. Source: arXiv 1906.08237, section
    2.3.
    """

    def objective(
        model: nn.Module, inputs: Int[Tensor, "B T"], targets: Int[Tensor, "B K"]
    ) -> LossSum:
        places = torch.arange(targets.shape[1], device=inputs.device).expand_as(targets)
        rank = torch.full_like(inputs, -1).scatter(1, targets, places)
        unseen, padding = unseen_in_order(rank), inputs == pad_token
        logits = model(inputs, padding=padding, unseen=unseen, targets=targets)
        return permutation_lm_loss(logits, inputs.gather(1, targets))

    return objective
