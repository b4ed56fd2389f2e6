"""The transformer passes scikit-learn's own checks, and gives what the encoder gives."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from medgraph.evaluation.transformer import EncoderTransformer


class Spread(nn.Module):
    """Mean and largest value of each example, whatever its shape."""

    def forward(self, x):
        flat = x.flatten(1)
        return torch.stack([flat.mean(dim=1), flat.amax(dim=1)], dim=1)


@parametrize_with_checks([EncoderTransformer(Spread())])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_rows_are_images_and_batches_do_not_matter(rng):
    encoder = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten())
    images = torch.randn(7, 2, 5, 6, generator=rng)
    made = EncoderTransformer(encoder, shape=(2, 5, 6), batch_size=3).fit_transform(images.flatten(1).numpy())
    with torch.no_grad():
        expected = encoder.eval()(images).numpy()
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-6)


def test_it_works_in_a_pipeline(rng):
    images = torch.rand(40, 16, generator=rng)
    images[:20] += 0.5
    pipeline = make_pipeline(EncoderTransformer(Spread(), shape=(1, 4, 4)), LogisticRegression())
    assert pipeline.fit(images.numpy(), [1] * 20 + [0] * 20).score(images.numpy(), [1] * 20 + [0] * 20) == 1.0


def test_no_encoder_and_another_shape_are_refused():
    with pytest.raises(ValueError, match="encoder: expected a module, got None"):
        EncoderTransformer().fit(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"shape: \(1, 2, 2\) has 4 values, but X has 3 columns"):
        EncoderTransformer(Spread(), shape=(1, 2, 2)).fit(np.ones((2, 3)))
