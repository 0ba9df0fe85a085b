"""What must not be reckoned in 16 bits, even in such a model: sums, squares and probabilities.

float16 ends at 65,504, so 300 squared is infinite, and has no number between 0 and 6e-8. bfloat16
keeps 8 binary digits, so a sum of probabilities stands still at the first one that is 256 times
smaller than what has been added up.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn


def at_least_float32(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Widen 16-bit numbers to float32; leave float32 and float64 as they are, without a copy.

    >>> [at_least_float32(torch.ones(1, dtype=kind)).dtype for kind in (torch.half, torch.double)]
    [torch.float32, torch.float64]
    """
    return x if x.element_size() >= 4 else x.float()


def without_autocast(device_type: str) -> AbstractContextManager:
    """Switch autocast off, if it is on: doing so costs more than a small product does."""
    known = torch.amp.is_autocast_available(device_type)  # not on the meta device
    on = known and torch.is_autocast_enabled(device_type)
    return torch.autocast(device_type, enabled=False) if on else nullcontext()


class KeptInFloat32(nn.Module):
    """A module with numbers that stay in float32 at least, whatever the model is moved to.

    >>> KeptInFloat32().half()
    KeptInFloat32()
    """

    def kept(self) -> list[Tensor]:
        """Name these: all parameters, unless a module says others."""
        return list(self.parameters())

    def _apply(self, fn, recurse: bool = True) -> nn.Module:
        """Move the module as `to`, `half` and the like do, and take the numbers back."""
        before = [tensor.data for tensor in self.kept()]
        super()._apply(fn, recurse)
        for tensor, old in zip(self.kept(), before, strict=True):
            if tensor.dtype.itemsize < 4:
                tensor.data = old.to(tensor.device, at_least_float32(old).dtype)
        return self
