import numpy as np

from medgraph.data.components import largest_component


def test_the_largest_piece_of_each_label_stays_alone():
    labels = np.zeros((8, 8, 8), dtype=np.uint8)
    labels[:3, :3, :3] = 1
    labels[3, 3, 3] = 1  # touches by a corner
    labels[6, 6, 6] = 1
    labels[5:7, 0, 0] = 2
    labels[0, 7, 7] = 2
    expected = labels.copy()
    expected[6, 6, 6] = expected[0, 7, 7] = 0
    np.testing.assert_array_equal(largest_component(labels), expected)
    assert largest_component(labels).dtype == np.uint8


def test_an_empty_map_stays_empty():
    assert not largest_component(np.zeros((3, 3), dtype=np.uint8)).any()
