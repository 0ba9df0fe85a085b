"""What the parity tests of BERT's family share: random weights, padded batches, one comparison."""

import torch
import torch.nn.functional as F

IGNORE = -100


def scattered(model, std=0.3):
    """Draw all parameters at random: norms and biases too, which start at 1 and 0."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model


def padded_batch(vocab_size, length, pad, n_segments=1, side="right", n_rows=3):
    """Random tokens (the padding token among them), row r with r tokens fewer; targets, segments.

    About half of the places have a target; the first real one always has.
    """
    ids = torch.randint(vocab_size, (n_rows, length))
    places = torch.arange(length)
    cut = torch.arange(n_rows)[:, None].clamp(max=length - 1)
    padding = places >= length - cut if side == "right" else places < cut
    ids[padding] = pad
    labels = torch.randint(vocab_size, (n_rows, length))
    labels[(torch.rand(n_rows, length) < 0.5) | padding] = IGNORE
    labels[0, 0] = 0
    segments = torch.randint(max(1, n_segments), (n_rows, length))
    return ids, segments, padding, labels


def token_loss(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)


def same_gradients(ours, theirs, from_hf):
    """Compare every gradient; what got none there must have none, or zeros, here."""
    gradients = from_hf(
        {
            name: torch.zeros_like(p) if p.grad is None else p.grad
            for name, p in theirs.named_parameters()
        }
    )
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    for name, parameter in ours.named_parameters():
        got = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert_close(got, gradients[name], name)


def assert_close(got, want, name=""):
    """Compare to 1e-6 in float64 and 1e-5 in float32, of the largest number if that is above 1."""
    scale, near = max(1.0, want.abs().max().item()), 1e-5 if want.dtype == torch.float32 else 1e-6
    torch.testing.assert_close(
        got / scale, want / scale, rtol=near, atol=near, msg=lambda text: f"{name}: {text}"
    )
