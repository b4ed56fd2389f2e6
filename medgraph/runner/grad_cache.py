"""Exact gradients of a large batch while the encoder sees only chunks of it."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medgraph import checks
from medgraph.errors import ConfigError
from medgraph.method import Method

NORMS_OVER_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class GradCacheStep:
    """Forward and backward of one batch with the memory of one chunk, at the price of a second forward [1].

    1. Encode chunk by chunk without a graph. 2. The loss on all embeddings, and its gradient to them. 3. Encode each
    chunk again with the same random numbers, and send its part of that gradient through the encoder.

    Exact for encoders whose output for an example does not depend on the rest of the batch. Batch normalization
    does: its statistics become those of a chunk, and its running averages count each chunk twice.

    [1] Gao et al., 2021, arXiv:2101.06983.

    Args:
        encoder: Gives an embedding per example; a data-parallel wrapper averages gradients once, after the last chunk.
        chunks: Number of chunks; more take less memory.
        loss: From all embeddings to a scalar. May have parameters, e.g. a temperature.

    Example:
        >>> encoder = nn.Linear(3, 2)
        >>> value = GradCacheStep(encoder, 2, lambda z: z.square().mean())(torch.ones(4, 3))
        >>> encoder.weight.grad.shape
        torch.Size([2, 3])
    """

    def __init__(self, encoder: nn.Module, chunks: int, loss: Callable[[Tensor], Tensor]):
        self.encoder, self.loss = encoder, loss
        self.chunks = checks.at_least("chunks", chunks, 1)
        _warn_of_norms(encoder, chunks, "GradCacheStep")

    def __call__(self, examples: Tensor) -> Tensor:
        """Add the gradient of the loss to all parameters; returns the loss without a graph."""
        pieces = examples.chunk(self.chunks)
        states, embeddings = [], []
        with torch.no_grad():
            for piece in pieces:
                states.append(_rng_state(examples.device))
                embeddings.append(self.encoder(piece))
        leaf = torch.cat(embeddings).requires_grad_()
        value = self.loss(leaf)
        value.backward()
        assert leaf.grad is not None
        after = _rng_state(examples.device)
        sizes = [len(piece) for piece in pieces]
        for number, (piece, state, gradient) in enumerate(zip(pieces, states, leaf.grad.split(sizes), strict=True)):
            _set_rng_state(state, examples.device)
            last = number == len(pieces) - 1
            with nullcontext() if last else self._without_averaging():
                self.encoder(piece).backward(gradient)
        _set_rng_state(after, examples.device)
        return value.detach()

    def _without_averaging(self) -> Any:
        return getattr(self.encoder, "no_sync", nullcontext)()


@contextmanager
def encoder_in_chunks(method: Method, chunks: int, title: str) -> Iterator[None]:
    """While it lasts, the encoder of `method` keeps the graph of one chunk of its batch, as `GradCacheStep` does.

    For every method as it is: whatever its loss does with the embeddings sees all of them. The encoder runs forward
    twice, the second time chunk by chunk in the backward pass; parameters get their gradient once, so that processes
    average once.

    Args:
        method: Its encoder takes a batch as one tensor; or, of an encoder with `chunked`, its parts do.
        chunks: Number of chunks; 1 changes nothing.
        title: Opens messages.

    Raises:
        ConfigError: The first training step does not call the encoder on one tensor, so that chunks have no effect.
    """
    if checks.at_least("chunks", chunks, 1) == 1:
        yield
        return
    encoder, calls = method.encoder, 0
    encoders = encoder.chunked() if hasattr(encoder, "chunked") else (encoder,)
    _warn_of_norms(encoder, chunks, f"{title}: train.grad_cache_chunks")

    def in_chunks(whole: Callable[..., Any], *inputs: Any) -> Any:
        nonlocal calls
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or not torch.is_grad_enabled():
            return whole(*inputs)
        calls += 1
        return torch.cat([checkpoint(whole, piece, use_reentrant=False) for piece in inputs[0].chunk(chunks)])

    def check_once(*_: Any) -> None:
        hook.remove()
        if calls == 0:
            raise ConfigError(
                f"{title}: train.grad_cache_chunks has no effect: {type(method).__name__} does not call its encoder on "
                "one batch of tensors. Remove this line."
            )

    hook = method.register_forward_hook(check_once)
    for one in encoders:
        one.forward = partial(in_chunks, one.forward)
    try:
        yield
    finally:
        for one in encoders:
            del one.forward
        hook.remove()


def _warn_of_norms(encoder: nn.Module, chunks: int, title: str) -> None:
    if chunks > 1 and any(isinstance(module, NORMS_OVER_BATCH) for module in encoder.modules()):
        warnings.warn(
            f"{title}: the encoder has batch normalization, whose statistics will be those of a chunk, "
            "not of the batch; use group or layer normalization for exact gradients",
            stacklevel=3,
        )


def _rng_state(device: torch.device) -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if device.type == "cuda" else []


def _set_rng_state(state: tuple[Tensor, list[Tensor]], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state_all(state[1])
