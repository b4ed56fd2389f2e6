import pytest
from hetero.planted import planted_views


@pytest.fixture
def data():
    """Views of the planted graph with the settings of `planted_views`."""
    return planted_views()
