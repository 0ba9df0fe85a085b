"""Imported once, by the process of which the members of all groups are copies: PyTorch's parts for
several processes take seconds to read in."""

import torch
import torch.distributed.checkpoint
import torch.distributed.checkpoint.hf_storage
import torch.distributed.fsdp  # noqa: F401

from course_lib.training import parallel, trainer  # noqa: F401

torch.set_num_threads(1)
