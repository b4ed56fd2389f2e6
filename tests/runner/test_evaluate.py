from types import SimpleNamespace

import pytest

from medgraph.errors import ConfigError
from medgraph.runner.evaluate import evaluate_stage


def test_segmentation_cannot_be_scored_from_an_encoder_alone():
    stage = SimpleNamespace(name="probe", evaluator={"name": "segmentation"})
    with pytest.raises(ConfigError, match=r"probe\.evaluator: segmentation needs a fine-tuned model"):
        evaluate_stage(stage, None, None, "cpu", None)
