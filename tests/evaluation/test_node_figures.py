import base64
import io
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from medgraph.evaluation.node_figures import attention_figures, feature_figure


def picture(figure):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(figure["png"]))).convert("RGB"))


def test_features_are_dots_colored_by_class(rng):
    graph = SimpleNamespace(labels=torch.tensor([0, 1, -1, 1]), target_type="paper")
    figure = feature_figure(torch.randn(4, 5, generator=rng).numpy(), graph)
    assert figure["title"] == "Features of each paper, by class"
    assert len(np.unique(picture(figure).reshape(-1, 3), axis=0)) > 10


def test_every_view_has_a_bar_and_a_larger_weight_a_longer_one():
    paths = [SimpleNamespace(name="pap"), SimpleNamespace(name="psp")]

    def drawn(*weights):
        encoder = SimpleNamespace(encode=lambda views: SimpleNamespace(attention=torch.tensor(weights)))
        (figure,) = attention_figures(encoder, SimpleNamespace(paths=paths))
        return picture(figure)

    def blue(pixels):
        return (pixels == [31, 119, 180]).all(axis=2).sum()  # matplotlib's first color

    assert drawn(0.4, 0.1, 0.3, 0.2).shape[0] > drawn(0.5, 0.5).shape[0]
    assert blue(drawn(0.5, 0.5)) > blue(drawn(0.9, 0.1))


def test_another_encoder_has_no_attention():
    assert attention_figures(SimpleNamespace(), None) == []
