import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score

from medgraph.clustering.agreement import normalized_mutual_information


@pytest.mark.parametrize(("k", "m"), [(2, 3), (5, 5), (40, 2)])
def test_it_equals_sklearn(k, m, rng):
    first, second = torch.randint(k, (200,), generator=rng), torch.randint(m, (200,), generator=rng)
    expected = normalized_mutual_info_score(first.numpy(), second.numpy())
    assert normalized_mutual_information(first, second).item() == pytest.approx(expected, abs=1e-6)


def test_names_and_order_do_not_matter(rng):
    first, second = torch.randint(4, (2, 50), generator=rng)
    order = torch.randperm(50, generator=rng)
    value = normalized_mutual_information(first, second)
    torch.testing.assert_close(normalized_mutual_information(9 - first[order], second[order]), value)
    torch.testing.assert_close(normalized_mutual_information(second, first), value)


def test_a_single_group_tells_nothing():
    assert normalized_mutual_information(torch.zeros(5).long(), torch.arange(5)) == 0
