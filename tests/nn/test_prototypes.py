import torch

from medgraph.nn.prototypes import Prototypes


def test_rows_have_unit_norm_again_after_normalising():
    prototypes = Prototypes(5, 7)
    prototypes.weight.data.mul_(3)
    prototypes.normalize_()
    torch.testing.assert_close(prototypes.weight.norm(dim=1), torch.ones(7))


def test_scores_are_cosines_of_unit_embeddings():
    prototypes = Prototypes(5, 7)
    z = torch.nn.functional.normalize(torch.randn(3, 5), dim=1)
    expected = torch.nn.functional.cosine_similarity(z[:, None], prototypes.weight[None], dim=2)
    torch.testing.assert_close(prototypes.scores(z), expected)
