"""A small segmentation whose two members answer together, on volumes that ship with the package."""

ANSWERING = """
name: answering
seed: 3
stages:
  fine:
    config:
      kind: train
      data: {name: labelled_slices, source: {name: sample}, size: [24, 24], num_labelled: 2}
      method:
        name: segmentation
        encoder: {name: resnet, depth: 10, width: 4}
        transform: {name: segmentation_augment}
        loss: {name: dice_cross_entropy}
      train:
        epochs: 1
        steps_per_epoch: 3
        batch_size: 4
        members: 2
        optimizer: {name: adamw, lr: 0.01}
        schedule: {name: constant}
      evaluator: {name: segmentation}
"""
