from types import SimpleNamespace

import pytest
from reference.content_data import Brightness, ContentData

from medgraph.errors import DataError
from medgraph.evaluation.knn_probe import KNNProbe


def test_more_neighbors_than_slices_are_refused():
    with pytest.raises(DataError, match="30 training slices, but num_neighbors is 31"):
        KNNProbe(num_neighbors=31).evaluate(SimpleNamespace(encoder=Brightness()), ContentData())
