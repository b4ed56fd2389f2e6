from types import SimpleNamespace

import pytest
from reference.content_data import Brightness, ContentData

from medgraph.evaluation.linear_probe import LinearProbe


def test_the_scale_of_a_feature_does_not_matter():
    class Scaled(Brightness):
        def forward(self, images):
            return super().forward(images) * images.new_tensor([1e4, 1e-4])

    plain, scaled = (
        LinearProbe().evaluate(SimpleNamespace(encoder=encoder), ContentData()) for encoder in (Brightness(), Scaled())
    )
    assert plain.rows == scaled.rows


def test_a_penalty_of_zero_is_refused():
    with pytest.raises(ValueError, match="penalty_weight: expected a number above 0, got 0"):
        LinearProbe(penalty_weight=0)
