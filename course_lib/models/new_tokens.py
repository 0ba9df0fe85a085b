"""Room for new tokens in a trained model: its tables get rows."""

from dataclasses import replace

import torch
from torch import Tensor, nn


@torch.no_grad()
def add_token_rows(model: nn.Module, vocab_size: int) -> nn.Module:
    """Copy a model, with new rows in its embedding and its head: one for each new token.

    A new row is the mean of the old ones, so that no new token begins likelier than the average
    one, and the old ones keep their probabilities but for that share (Hewitt 2021, "Initializing
    new word embeddings for pretrained language models"). Hugging Face's `resize_token_embeddings`
    draws around this mean. Raises ValueError if the model would not grow.
    """
    old = model.settings.vocab_size
    if vocab_size <= old:
        raise ValueError(f"vocab_size {vocab_size} must be above the model's {old}")
    grown = type(model)(replace(model.settings, vocab_size=vocab_size))

    def widen(weights: Tensor, wanted: Tensor) -> Tensor:
        if weights.shape == wanted.shape:
            return weights
        return torch.cat([weights, weights.mean(0).expand(vocab_size - old, -1)])

    wanted = grown.state_dict()
    state = {name: widen(weights, wanted[name]) for name, weights in model.state_dict().items()}
    grown.load_state_dict(state)
    device = next(model.parameters()).device
    return grown.to(device).train(model.training)
