"""Rules of every test: fixed seeds, one thread, no network, shapes checked at run time."""

import os
import socket

os.environ["TRITON_INTERPRET"] = "1"  # kernels run on the CPU; Triton reads this when it is imported

import jaxtyping
import pytest
from jaxtyping import install_import_hook

install_import_hook(["medgraph.losses", "medgraph.clustering", "medgraph.nn"], "beartype.beartype")

import torch  # noqa: E402  (the hook above must come before any import of the package)

torch.set_num_threads(1)  # for fixtures of modules, too, which are made before the rule for every test


@pytest.fixture(autouse=True)
def _fixed_seed_and_threads():
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the suite itself runs on two workers


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded generator, the only source of randomness in a test."""
    return torch.Generator().manual_seed(31)


@pytest.fixture
def shapes_unchecked():
    """As users run it: our own messages, not those of the checker of shapes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    connect = socket.socket.connect

    def local_only(self, address):
        host = address[0] if isinstance(address, tuple) else ""
        if host not in ("", "localhost", "127.0.0.1", "::1"):
            raise OSError(f"a test tried to reach {host}: tests use no network")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
