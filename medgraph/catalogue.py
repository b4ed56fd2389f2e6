"""Every part that a config can name: one plain table per kind, name -> "module:Class".

Strings, so that listing and checking import nothing heavy, and a missing optional package is reported by the part that
needs it. A package elsewhere adds its own parts through entry-point groups `medgraph.<kind>`.
"""

import importlib
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from medgraph.errors import ConfigError

TABLES: dict[str, dict[str, str]] = {
    "methods": {
        "intra": "medgraph.volume.intra:Intra",
        "masked": "medgraph.volume.masked:Masked",
        "inter": "medgraph.volume.inter:Inter",
        "joint": "medgraph.volume.joint:Joint",
        "segmentation": "medgraph.volume.segmentation:Segmentation",
        "patch_segmentation": "medgraph.volume.patch_segmentation:PatchSegmentation",
        "classification": "medgraph.volume.classification:Classification",
        "regression": "medgraph.volume.regression:Regression",
        "contrast": "medgraph.volume.contrast:Contrast",
        "meow": "medgraph.hetero.meow:MEOW",
        "adameow": "medgraph.hetero.adameow:AdaMEOW",
        "node_classification": "medgraph.hetero.node_classification:NodeClassification",
        "meow_sampled": "medgraph.hetero.sampled_meow:SampledMEOW",
        "adameow_sampled": "medgraph.hetero.sampled_adameow:SampledAdaMEOW",
        "sepclr": "medgraph.sepclr.sepclr:SepCLR",
        "sepclr_supervised": "medgraph.sepclr.supervised:SupervisedSepCLR",
        "simclr": "medgraph.sepclr.simclr:SimCLR",
    },
    "losses": {
        "prototype_cross_entropy": "medgraph.losses.prototype_cross_entropy:PrototypeCrossEntropy",
        "swapped_prediction": "medgraph.losses.swapped_prediction:SwappedPrediction",
        "prototype_contrast": "medgraph.losses.prototype_contrast:PrototypeContrast",
        "masked_prediction": "medgraph.losses.masked_prediction:MaskedPrediction",
        "momentum_contrast": "medgraph.losses.momentum_contrast:MomentumContrast",
        "mean_normalized_negatives": "medgraph.losses.mean_normalized_negatives:MeanNormalizedNegatives",
        "pearson": "medgraph.losses.pearson:Pearson",
        "rank_divergence": "medgraph.losses.rank_divergence:RankDivergence",
        "alignment": "medgraph.losses.alignment:Alignment",
        "uniformity": "medgraph.losses.uniformity:Uniformity",
        "alignment_uniformity": "medgraph.losses.alignment_uniformity:AlignmentUniformity",
        "joint_entropy": "medgraph.losses.joint_entropy:JointEntropy",
        "salient_uniformity": "medgraph.losses.salient_uniformity:SalientUniformity",
        "collapse": "medgraph.losses.collapse:Collapse",
        "attribute_alignment": "medgraph.losses.attribute_alignment:AttributeAlignment",
        "kernel_joint_entropy": "medgraph.losses.kernel_joint_entropy:KernelJointEntropy",
        "vclub": "medgraph.losses.vclub:VCLUB",
        "vl1out": "medgraph.losses.vl1out:VL1Out",
        "vub": "medgraph.losses.vub:VUB",
        "total_correlation": "medgraph.losses.total_correlation:TotalCorrelation",
        "mmd": "medgraph.losses.mmd:MMD",
        "hsic": "medgraph.losses.hsic:HSIC",
        "dice_cross_entropy": "medgraph.losses.dice:DiceCrossEntropy",
        "focal": "medgraph.losses.focal:Focal",
        "tversky": "medgraph.losses.tversky:Tversky",
        "generalized_dice": "medgraph.losses.generalized_dice:GeneralizedDice",
        "info_nce": "medgraph.losses.info_nce:InfoNCE",
        "nt_xent": "medgraph.losses.nt_xent:NTXent",
        "supcon": "medgraph.losses.supcon:SupCon",
        "dcl": "medgraph.losses.decoupled:DCL",
        "dclw": "medgraph.losses.decoupled:DCLW",
        "debiased_nt_xent": "medgraph.losses.debiased:DebiasedNTXent",
        "mv_info_nce": "medgraph.losses.multi_view:MVInfoNCE",
        "mv_dhel": "medgraph.losses.multi_view:MVDHEL",
        "multi_positive_info_nce": "medgraph.losses.multi_positive_info_nce:MultiPositiveInfoNCE",
        "weighted_info_nce": "medgraph.losses.weighted_info_nce:WeightedInfoNCE",
        "adaptive_info_nce": "medgraph.losses.adaptive_info_nce:AdaptiveInfoNCE",
        "inverse_propensity": "medgraph.losses.inverse_propensity:InversePropensity",
        "false_negative_removal": "medgraph.losses.false_negative_removal:FalseNegativeRemoval",
        "quantile_negatives": "medgraph.losses.quantile_negatives:QuantileNegatives",
        "given_weight_info_nce": "medgraph.losses.given_weight_info_nce:GivenWeightInfoNCE",
        "y_aware_info_nce": "medgraph.losses.y_aware_info_nce:YAwareInfoNCE",
        "rank_n_contrast": "medgraph.losses.rank_n_contrast:RankNContrast",
        "supremix": "medgraph.losses.supremix:SupReMix",
        "class_pair_gates": "medgraph.losses.class_pair_gates:ClassPairGates",
        "sigmoid_pair": "medgraph.losses.sigmoid_pair:SigmoidPairLoss",
        "replay": "medgraph.losses.replay:ReplayLoss",
        "relational_distillation": "medgraph.losses.relational_distillation:RelationalDistillation",
        "label_alignment": "medgraph.losses.label_alignment:LabelAlignment",
    },
    "encoders": {
        "conv": "medgraph.nn.conv:ConvEncoder",
        "resnet": "medgraph.nn.encoders:ResNetEncoder",
        "resnet_padded": "medgraph.nn.padded_resnet:PaddedResNetEncoder",
        "segresnet": "medgraph.nn.segresnet:SegResNetEncoder",
        "swin": "medgraph.nn.swin:SwinEncoder",
        "headed": "medgraph.nn.headed:HeadedEncoder",
        "ensemble": "medgraph.nn.ensemble:Ensemble",
        "common_salient": "medgraph.sepclr.encoder:CommonSalientEncoder",
        "volume": "medgraph.volume.encoder:VolumeEncoder",
        "metapath": "medgraph.hetero.encoder:MetapathEncoder",
        "metapath_sampled": "medgraph.hetero.sampled_encoder:SampledMetapathEncoder",
        "smoothed": "medgraph.hetero.smoothed:Smoothed",
    },
    "attentions": {
        "ms1d": "medgraph.volume.slice_attention:MultiScale",
        "dat1d": "medgraph.volume.slice_attention:SharedPoints",
        "full": "medgraph.volume.slice_attention:Full",
        "none": "medgraph.volume.slice_attention:Identity",
    },
    "projectors": {
        "mlp": "medgraph.nn.projector:MLPProjector",
        "group_whitening": "medgraph.nn.group_whitening:GroupWhitening",
    },
    "prototypes": {"linear": "medgraph.nn.prototypes:Prototypes"},
    "clusterings": {
        "swav": "medgraph.volume.assigner:SwAV",
        "deepcluster": "medgraph.volume.assigner:DeepCluster",
        "queue": "medgraph.clustering.queue:Queue",
        "code_queues": "medgraph.clustering.queue:CodeQueues",
        "bank": "medgraph.clustering.bank:Bank",
    },
    "data": {
        "slices": "medgraph.data.slices:SliceData",
        "labelled_slices": "medgraph.data.labelled_slices:LabelledSliceData",
        "labelled_stacks": "medgraph.data.labelled_stacks:LabelledStackData",
        "labelled_volumes": "medgraph.data.labelled_volumes:LabelledVolumeData",
        "labelled_images": "medgraph.data.labelled_images:LabelledImageData",
        "classified_folder": "medgraph.data.classified:ClassifiedFolderData",
        "classified_arrays": "medgraph.data.classified:ClassifiedArraysData",
        "measured_folder": "medgraph.data.measured:MeasuredFolderData",
        "measured_arrays": "medgraph.data.measured:MeasuredArraysData",
        "targeted_volumes": "medgraph.data.targeted:TargetedVolumeData",
        "targeted_slices": "medgraph.data.targeted:TargetedSliceData",
        "targeted_stacks": "medgraph.data.targeted_stacks:TargetedStackData",
        "digits_over_images": "medgraph.data.digits_over_images:DigitsOverImagesData",
        "shapes_over_digits": "medgraph.data.shapes_over_digits:ShapesOverDigitsData",
        "lesion_volumes": "medgraph.data.lesion_volumes:LesionVolumesData",
        "atrophy_volumes": "medgraph.data.atrophy_volumes:AtrophyVolumesData",
        "grouped_files": "medgraph.data.grouped_files:GroupedFilesData",
        "stacks": "medgraph.data.stacks:StackData",
        "array_slices": "medgraph.data.array_stacks:ArraySliceData",
        "array_stacks": "medgraph.data.array_stacks:ArrayStackData",
        "classified_stacks": "medgraph.data.array_stacks:ClassifiedStackData",
        "images": "medgraph.data.images:ImageFolderData",
        "mixed": "medgraph.data.mixed:MixedData",
        "joined_views": "medgraph.hetero.joined_views:JoinedViews",
        "metapath_views": "medgraph.hetero.views:MetapathViews",
        "labelled_nodes": "medgraph.hetero.labelled_nodes:LabelledNodes",
        "metapath_batches": "medgraph.hetero.batches:MetapathBatches",
        "images_and_stacks": "medgraph.data.images_and_stacks:ImageStackData",
    },
    "sources": {
        "decathlon": "medgraph.data.decathlon:DecathlonSource",
        "folder": "medgraph.data.folder:FolderSource",
        "manifest": "medgraph.data.manifest:ManifestSource",
        "sample": "medgraph.data.samples:SampleSource",
        "two_folders": "medgraph.data.two_folders:TwoFoldersSource",
        "group_manifest": "medgraph.data.group_manifest:GroupManifestSource",
        "heco_graph": "medgraph.data.heco_folder:HeCoGraph",
        "saved_graph": "medgraph.data.saved_graph:SavedGraph",
        "pyg_dataset": "medgraph.data.pyg_graphs:PyGGraph",
        "sample_graph": "medgraph.data.sample_graph:SampleGraph",
        "tables": "medgraph.data.tables:TablesGraph",
        "walk_features": "medgraph.data.walk_features:WalkFeatures",
        "factorized_walks": "medgraph.data.factorized_walks:FactorizedWalks",
        "idf_features": "medgraph.data.idf_features:IdfFeatures",
        "planted_graph": "medgraph.data.synthetic_graph:PlantedGraph",
    },
    "targets": {
        "column": "medgraph.data.targets:ColumnTarget",
        "label_volume": "medgraph.data.targets:LabelVolumeTarget",
    },
    "transforms": {
        "multi_crop": "medgraph.transforms.crops:MultiCrop",
        "stack_views": "medgraph.transforms.stack_views:StackViews",
        "segmentation_augment": "medgraph.transforms.segmentation_augment:SegmentationAugment",
        "volume_segmentation_augment": "medgraph.transforms.volume_segmentation_augment:VolumeSegmentationAugment",
        "image_views": "medgraph.transforms.image_views:ImageViews",
        "volume_views": "medgraph.transforms.volume_views:VolumeViews",
    },
    "evaluators": {
        "segmentation": "medgraph.evaluation.segmentation:SegmentationScores",
        "classification": "medgraph.evaluation.classification:ClassificationScores",
        "regression": "medgraph.evaluation.regression:RegressionScores",
        "separation": "medgraph.evaluation.separation:SeparationScores",
        "linear_probe": "medgraph.evaluation.linear_probe:LinearProbe",
        "logistic_probe": "medgraph.evaluation.logistic_probe:LogisticProbe",
        "ridge_probe": "medgraph.evaluation.ridge_probe:RidgeProbe",
        "knn_probe": "medgraph.evaluation.knn_probe:KNNProbe",
        "node_probe": "medgraph.evaluation.node_scores:NodeProbe",
        "node_clusters": "medgraph.evaluation.node_scores:NodeClusters",
        "node_classifier": "medgraph.evaluation.node_classifier:NodeClassifierScores",
        "node_neighbors": "medgraph.evaluation.node_scores:NodeNeighbors",
        "node_embedding": "medgraph.evaluation.node_embedding:NodeEmbedding",
    },
    "optimizers": {
        "adam": "medgraph.runner.optimizer:Adam",
        "adamw": "medgraph.runner.optimizer:AdamW",
        "sgd": "medgraph.runner.optimizer:SGD",
        "larc": "medgraph.runner.larc:LARC",
    },
    "schedules": {"cosine": "medgraph.runner.schedule:Cosine", "constant": "medgraph.runner.schedule:Constant"},
}

# The last word of a key says which table a part's name is looked up in: `common_loss` -> losses.
KIND_OF_WORD = {
    "method": "methods",
    "loss": "losses",
    "encoder": "encoders",
    "encoders": "encoders",
    "attention": "attentions",
    "projector": "projectors",
    "prototypes": "prototypes",
    "assigner": "clusterings",
    "queue": "clusterings",
    "queues": "clusterings",
    "bank": "clusterings",
    "data": "data",
    "source": "sources",
    "sources": "sources",
    "target": "targets",
    "views": "transforms",
    "transform": "transforms",
    "transforms": "transforms",
    "evaluator": "evaluators",
    "optimizer": "optimizers",
    "schedule": "schedules",
}


def kind_of_key(key: str) -> str | None:
    """Table for the part under `key`, by the last word of the key; None for a plain value."""
    return KIND_OF_WORD.get(key.rsplit("_", 1)[-1])


def table(kind: str) -> dict[str, str]:
    """All parts of a kind by name, plug-ins included."""
    return {**_plugins(kind), **TABLES[kind]}


def path(kind: str, name: str) -> str:
    """The "module:Class" of a part. Raises ConfigError naming the near names."""
    known = table(kind)
    if name not in known:
        near = get_close_matches(str(name), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ConfigError(f"no {_singular(kind)} is called {name!r}{hint} Known: {', '.join(sorted(known))}.")
    return known[name]


def find(kind: str, name: str) -> type[Any]:
    """Import the class of a part. Raises ConfigError for an unknown name or a missing optional package."""
    module, _, attribute = path(kind, name).partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("medgraph"):
            raise
        raise ConfigError(f"{_singular(kind)} {name!r} needs the package {error.name!r}: pip install it.") from error


@cache
def _plugins(kind: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=f"medgraph.{kind}")}


def _singular(kind: str) -> str:
    return {"losses": "loss", "prototypes": "prototypes", "data": "data"}.get(kind, kind.removesuffix("s"))
