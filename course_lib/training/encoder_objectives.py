"""What encoders are trained for: hidden tokens, pairs of texts, a teacher's answers."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.text.batches import IGNORE_INDEX
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
