"""What pairwise losses share: unit rows, and the mean over the anchors for which a loss is defined."""

import warnings

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def unit(embeddings: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """The embeddings at length 1, in float32 or better."""
    return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=-1)


def mean_over_valid(values: Float[Tensor, " n"], valid: Bool[Tensor, " n"], lack: str) -> Float[Tensor, ""]:
    """Mean of the valid values; with none, a zero that carries a graph, and a warning that says what anchors lack."""
    count = int(valid.sum())
    if count == 0:
        warnings.warn(f"all {len(values)} anchors have no {lack}: the loss of this batch is 0", stacklevel=3)
    return values[valid].sum() / max(count, 1)
