import pytest
import torch
from torch.nn import functional as F

from medgraph.losses import overlap


def test_counts_of_a_certain_prediction_are_numbers_of_voxels():
    labels = torch.tensor([[0, 1, 1, 2, -100]])
    guess = torch.tensor([[0, 1, 2, 2, 2]])
    counts = overlap.measure(60.0 * F.one_hot(guess, 3).movedim(-1, 1), labels)
    assert counts.sizes.tolist() == [1, 2, 1]
    assert counts.predicted.tolist() == pytest.approx([1, 1, 2])
    assert counts.overlap.tolist() == pytest.approx([1, 1, 1])
    assert counts.counted(False).tolist() == [False, True, True]
    assert counts.counted(True).tolist() == [True, True, True]


def test_cross_entropy_is_that_of_torch(rng):
    logits = torch.randn(2, 3, 5, generator=rng, dtype=torch.float64)
    labels = torch.tensor([[0, 1, -100, 1, 2], [-100, 0, 0, 2, 1]])
    torch.testing.assert_close(overlap.measure(logits, labels).cross_entropy(), F.cross_entropy(logits, labels))


@pytest.mark.parametrize(
    ("logits", "labels", "error", "text"),
    [
        (torch.ones(1, 1, 4), torch.zeros(1, 4).long(), ValueError, "expected 2 or more classes on axis 1, background"),
        (torch.ones(1, 2, 4), torch.zeros(1, 4), TypeError, r"labels: expected whole numbers, .* got torch.float32"),
        (torch.ones(1, 2, 4), torch.zeros(1, 1, 4).long(), ValueError, r"one class per voxel of logits \(1, 2, 4\)"),
        (torch.ones(1, 2, 2), torch.tensor([[1, 2]]), ValueError, "labels: expected classes 0 to 1 or -100, got 2"),
        (torch.ones(1, 2, 2), torch.tensor([[-1, 0]]), ValueError, "labels: expected classes 0 to 1 or -100, got -1"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, error, text):
    with pytest.raises(error, match=text):
        overlap.measure(logits, labels)
