"""medgraph: self-supervised contrastive learning on medical images and heterogeneous graphs."""
