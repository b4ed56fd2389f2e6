import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score

from medgraph.data.node_metrics import auc, f1


@pytest.mark.parametrize("num_classes", [2, 4])
def test_they_agree_with_scikit_learn(num_classes, rng):
    labels = torch.randint(0, num_classes, (80,), generator=rng)
    probabilities = torch.randn(3, 80, num_classes, generator=rng).round(decimals=1).softmax(2)  # with ties
    macro, micro = f1(probabilities.argmax(2), labels, num_classes)
    areas = auc(probabilities, labels)
    for index, each in enumerate(probabilities):
        predicted = each.argmax(1)
        assert macro[index].item() == pytest.approx(f1_score(labels, predicted, average="macro"))
        assert micro[index].item() == pytest.approx(f1_score(labels, predicted, average="micro"))
        wanted = [roc_auc_score(labels == c, each[:, c]) for c in range(num_classes)]
        assert areas[index].item() == pytest.approx(sum(wanted) / num_classes)


def test_a_class_that_nobody_names_does_not_count():
    macro, micro = f1(torch.tensor([[0, 1, 1]]), torch.tensor([0, 1, 0]), num_classes=3)
    assert macro.item() == pytest.approx(f1_score([0, 1, 0], [0, 1, 1], average="macro"))
    assert micro.item() == pytest.approx(2 / 3)
    assert auc(torch.ones(1, 3, 2), torch.zeros(3, dtype=torch.long)).isnan().all()
