"""Imported once, by the process of which the victims of the kill test are copies: PyTorch is read
in and warm."""

import torch

from tests.training.runs import run

torch.set_num_threads(1)
run(steps=1)
