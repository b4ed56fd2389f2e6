"""Batch normalization over the batches of all processes."""

import warnings

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medgraph.method import Method


def share_norms(method: Method, device: torch.device, num_processes: int) -> None:
    """Let batch normalization take its statistics over all processes, in place; alone, nothing changes.

    Else each process normalizes by its own part of the batch, and the codes that a contrastive loss gathers are not
    comparable. torch synchronises on GPUs only: on a CPU this warns instead.
    """
    if num_processes == 1 or not any(isinstance(module, _BatchNorm) for module in method.modules()):
        return
    if device.type == "cpu":
        warnings.warn(
            f"batch normalization: on a CPU each of {num_processes} processes takes its own statistics, as torch "
            "synchronises them on GPUs only. Train with one process, or with an encoder and projectors without it.",
            stacklevel=3,
        )
        return
    nn.SyncBatchNorm.convert_sync_batchnorm(method)
