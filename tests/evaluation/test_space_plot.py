import base64
import io

import numpy as np
from PIL import Image

from medgraph.evaluation.space_plot import plot_spaces


def test_a_picture_has_a_row_for_each_space_and_a_column_for_each_attribute():
    rng = np.random.default_rng(0)
    values = rng.normal(size=50)
    values[:10] = np.nan
    spaces = {"common": rng.normal(size=(50, 4)), "salient": rng.normal(size=(50, 1))}
    png = plot_spaces(spaces, {"age": values, "kind": np.arange(50) % 3.0, "side": values}, {"kind"})
    width, height = Image.open(io.BytesIO(base64.b64decode(png))).size
    assert width / height == 1.5
