import base64

import numpy as np
import pytest

from medgraph.evaluation.retrieval_plot import neighbors, plot_neighbors


def test_nearest_examples_of_other_subjects_come_first():
    features = np.array([[0.0], [0.1], [1.0], [5.0], [2.0]])
    subjects = np.array([0, 0, 1, 2, 1])
    assert neighbors(features, subjects, [0, 3], count=2) == [[2, 4], [4, 2]]
    assert neighbors(features, subjects, [0], count=9) == [[2, 4, 3]]
    assert neighbors(features, np.zeros(5), [0]) == [[]]


@pytest.mark.parametrize("shape", [(1, 6, 8), (3, 6, 8), (1, 6, 8, 4)])
def test_a_picture_is_drawn_of_images_and_volumes(shape):
    rng = np.random.default_rng(0)
    spaces = {"common": rng.standard_normal((7, 3)), "salient": rng.standard_normal((7, 2))}
    asked = []

    def pictures(rows):
        asked.extend(rows)
        return rng.random((len(rows), *shape))

    png = plot_neighbors(spaces, np.arange(7) // 2, pictures)
    assert base64.b64decode(png).startswith(b"\x89PNG")
    assert asked == sorted(set(asked))


def test_one_subject_alone_has_no_neighbor_and_still_a_picture():
    assert plot_neighbors({"single": np.ones((3, 2))}, np.zeros(3), lambda rows: np.ones((len(rows), 1, 4, 4)))
