"""What a stage leaves can be applied where its training data are not, whatever it took from them."""

import shutil

import numpy as np
import torch
from reference.nifti_files import write

import medgraph
from medgraph import config
from medgraph.data import formats
from medgraph.runner.model import load_model
from medgraph.runner.predict import predict
from medgraph.runner.runner import run

PIPELINE = """
name: uneven
seed: 1
stages:
  joint:
    config:
      kind: train
      data:
        name: images_and_stacks
        image_data:
          name: mixed
          max_share: 1.0
          data:
            - name: slices
              source: {name: folder, root: ROOT, fractions: [0.75, 0.0, 0.25]}
              axis: 1
              size: [16, 16]
              spacing_tolerance: 0.2
        volume_data: {name: stacks, source: {name: folder, root: ROOT, fractions: [0.75, 0.0, 0.25]}, axis: 1,
                      size: [16, 16], spacing_tolerance: 0.2}
        images_per_batch: 8
      method:
        name: joint
        encoder:
          name: volume
          slice_encoder: {name: resnet, width: 4}
          attention: {name: ms1d, num_heads: 2}
          dim: 8
          num_layers: 1
        image_views: {name: multi_crop, sizes: [16], counts: [2], areas: [[0.5, 1.0]]}
        volume_views: {name: stack_views, num_slices: 4}
        loss: {name: prototype_cross_entropy}
        mask_loss: {name: masked_prediction, measure: cosine}
        image_assigner: {name: swav, num_prototypes: 4, queue_size: 0}
        volume_assigner: {name: swav, num_prototypes: 2, queue_size: 0}
      train: {epochs: 1, batch_size: 4, optimizer: {name: adamw}, schedule: {name: constant}}
  verdict:
    start_from: joint
    config:
      kind: compare
      data:
        name: labelled_slices
        source: {name: folder, root: ROOT, images: "*.nii.gz", labels: "labels/*.nii.gz", classes: [back, front],
                 fractions: [0.75, 0.0, 0.25]}
        axis: 1
        size: [16, 16]
        spacing_tolerance: 0.2
        test_part: test
      method:
        name: segmentation
        encoder: {name: resnet, width: 4}
        transform: {name: segmentation_augment}
        loss: {name: dice_cross_entropy}
      train: {epochs: 1, batch_size: 4, steps_per_epoch: 1, optimizer: {name: adamw}, schedule: {name: constant}}
      evaluator: {name: segmentation}
      compare: {num_labelled: [2], seeds: [0]}
"""


def test_spacing_found_in_training_volumes_goes_with_encoder_and_model(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "volumes"
    for number in range(12):
        voxels = np.random.default_rng(number).normal(size=(16, 6, 16)).astype(np.float32)
        millimetres = (1.0, 2.0, 1.5)[number % 3]
        affine = np.diag([millimetres, 1.0, millimetres, 1.0])
        write(folder / f"{number}.nii.gz", voxels, affine)
        write(folder / "labels" / f"{number}.nii.gz", (voxels > 1).astype(np.uint8), affine)
    (tmp_path / "uneven.yaml").write_text(PIPELINE.replace("ROOT", str(folder)))
    pipeline = config.load(tmp_path / "uneven.yaml")
    out = run(pipeline, out=tmp_path / "run", device="cpu")
    new = write(tmp_path / "new" / "a.nii.gz", voxels, np.diag([1.0, 1.0, 3.0, 1.0]))
    volumes = config.build(pipeline.stages["joint"].data["volume_data"], "data")
    prepared = volumes.new_case(formats.case_file(new))
    assert volumes.cache.spacing == (1.5, None, 1.5)
    shutil.rmtree(folder)

    encoder = medgraph.load_encoder(out / "joint" / "encoder")
    data = encoder.preprocess.data()
    assert data.volume_data.cache.spacing == data.image_data.data[0].cache.spacing == (1.5, None, 1.5)
    assert torch.equal(encoder.preprocess(new)[0], prepared.images)
    model = load_model(out / "verdict" / "pretrained-2-seed1" / "model")
    assert torch.equal(model.data.new_case(formats.case_file(new)).images, prepared.images)
    predict(out, tmp_path / "new", tmp_path / "masks", device="cpu")
    assert formats.read_grid(tmp_path / "masks" / "a.nii.gz").same_as(formats.read_grid(new))
