"""Settings of graph pipelines that do not work together are found before anything is trained, with their place."""

import pytest

from medgraph import config
from medgraph.errors import ConfigError

WRONG = {
    "pretrain.data.top_k=[1,2,3]": "data.top_k: expected one number, or 2, one for each meta-path; got 3",
    "pretrain.data.edge_masks=[]": "data.edge_masks: expected one number, or 2, one for each meta-path; got 0",
    "pretrain.data.metapaths=[]": "data.metapaths: expected at least one",
    "pretrain.data.metapaths=[target-group_1-target,target-group_1-target]": "is there 2 times; name each",
    "pretrain.data.num_positives=2": "data.num_positives: this loss takes none",
    "pretrain.method.loss={name: multi_positive_info_nce}": "method.loss: multi_positive_info_nce needs data.num_pos",
    "pretrain.method.encoder={name: metapath_sampled}": "method.encoder: expected metapath, which takes the whole",
    "pretrain.method={name: meow_sampled, encoder: {name: metapath_sampled}, num_clusters: [5], "
    "loss: {name: given_weight_info_nce}}": "data: gives the whole graph, this method takes batches",
    "pretrain.data={name: metapath_batches, source: {name: planted_graph}}": "data: gives batches of targets",
}


@pytest.mark.parametrize("override", WRONG)
def test_the_check_finds(override):
    with pytest.raises(ConfigError) as caught:
        config.dry_build(config.load("smoke-meow", [override]))
    assert WRONG[override] in str(caught.value)
    assert "pretrain" in str(caught.value)
