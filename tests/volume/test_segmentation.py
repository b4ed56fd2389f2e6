import pytest
import torch

from medgraph.data.batches import LabelledImageBatch, LabelledStackBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses.dice import DiceCrossEntropy
from medgraph.method import Step
from medgraph.nn.encoders import ResNetEncoder
from medgraph.runner.export import export_encoder, transfer
from medgraph.transforms.segmentation_augment import SegmentationAugment
from medgraph.transforms.volume_segmentation_augment import VolumeSegmentationAugment
from medgraph.volume.encoder import VolumeEncoder
from medgraph.volume.segmentation import Segmentation
from medgraph.volume.slice_attention import MultiScale

SPEC = ImageSpec(spatial_dims=2, channels=1, size=(32, 32), num_examples=8, classes=("background", "front", "back"))


def make(**arguments) -> Segmentation:
    torch.manual_seed(3)
    encoder = ResNetEncoder(SPEC, depth=18, width=8)
    return Segmentation(SPEC, encoder, SegmentationAugment(), DiceCrossEntropy(), **arguments)


STACKS = ImageSpec(2, 1, (32, 32), 8, SPEC.classes, num_volumes=2, num_slices=(6, 9))


def make_context(**arguments) -> Segmentation:
    torch.manual_seed(3)
    encoder = VolumeEncoder(STACKS, ResNetEncoder(STACKS, depth=18, width=8), MultiScale(), dim=16, num_layers=1)
    return Segmentation(STACKS, encoder, SegmentationAugment(), DiceCrossEntropy(), slice_context=True, **arguments)


def stack_batch(rng) -> LabelledStackBatch:
    labels = torch.randint(0, 3, (2, 4, 32, 32), generator=rng)
    return LabelledStackBatch(torch.arange(2), torch.rand(2, 4, 1, 32, 32, generator=rng), labels)


@pytest.mark.parametrize("training", [True, False])
def test_context_starts_at_the_plain_network_to_the_last_bit(rng, training):
    plain, context = make().train(training), make_context().train(training)
    plain.encoder.load_state_dict(context.encoder.slice_encoder.state_dict())
    plain.decoder.load_state_dict(context.decoder.state_dict())
    images = torch.rand(6, 1, 32, 32, generator=rng)
    assert torch.equal(plain.logits(images), context.logits(images, stacks=2))


def test_with_context_a_slice_knows_of_its_own_stack_alone(rng):
    method = make_context().eval()
    torch.nn.init.normal_(method.context.weight)
    images = torch.rand(8, 1, 32, 32, generator=rng)
    changed = images.clone()
    changed[1] = 0.5
    differs = (method.logits(images, stacks=2) != method.logits(changed, stacks=2)).flatten(1).any(dim=1)
    assert differs.tolist() == [True] * 4 + [False] * 4
    whole = method.predict(images[:4])
    torch.testing.assert_close(whole, method.logits(images, stacks=2)[:4], rtol=1e-4, atol=1e-4)


def test_context_learns_in_the_first_step_and_the_transformer_in_the_second(rng):
    method = make_context()
    method(stack_batch(rng), Step(0, 0, 0))["loss"].backward()
    assert method.context.weight.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() == 0 for p in method.encoder.transformer.parameters() if p.grad is not None)
    torch.nn.init.normal_(method.context.weight)
    method(stack_batch(rng), Step(0, 0, 1))["loss"].backward()
    assert all(p.grad.abs().sum() > 0 for p in method.encoder.tokens.linear.parameters())


def test_slices_of_a_stack_move_together_under_noise_of_their_own():
    transform = SegmentationAugment()
    record = transform.draw_stacks(0, 0, torch.tensor([4, 9]), (1, 32, 32), 3)
    alone = transform.draw(0, 0, torch.tensor([9]), (1, 32, 32))
    assert torch.equal(record["matrix"][3:], alone["matrix"].expand(3, -1, -1))
    assert len(record["noise_seed"].unique()) == 6


def test_context_takes_over_all_of_a_volume_encoder(tmp_path):
    torch.manual_seed(4)
    volume = VolumeEncoder(STACKS, ResNetEncoder(STACKS, depth=18, width=8), MultiScale(), dim=16, num_layers=1)
    node = {
        "name": "volume",
        "slice_encoder": {"name": "resnet", "depth": 18, "width": 8, "stem": "small"},
        "attention": {"name": "ms1d", "num_heads": 4, "num_levels": 2, "num_points": 4},
        **{"dim": 16, "num_layers": 1, "hidden_dim": 256, "dropout": 0.1, "dropout_place": "branch"},
        **{"position": "slice", "repeat_last": False},
    }
    export_encoder(tmp_path / "encoder", volume, node, STACKS, {})
    method = make_context()
    report = transfer(tmp_path / "encoder", method.encoder)
    assert report["left behind"] == report["freshly initialised"] == []
    assert all(torch.equal(value, method.encoder.state_dict()[name]) for name, value in volume.state_dict().items())


@pytest.mark.parametrize(
    ("spec", "stacked", "context", "message"),
    [
        (STACKS, False, True, "expected the encoder volume"),
        (SPEC, True, True, "expected the data labelled_stacks"),
        (STACKS, True, False, "false, but the encoder looks across slices"),
        (STACKS, False, False, "false, but the data give stacks of slices"),
    ],
)
def test_context_needs_a_volume_encoder_and_stacks(spec, stacked, context, message):
    encoder = make_context().encoder if stacked else make().encoder
    with pytest.raises(ValueError, match=f"slice_context: .*{message}"):
        Segmentation(spec, encoder, SegmentationAugment(), DiceCrossEntropy(), slice_context=context)


def test_it_learns_a_bright_square(rng):
    method = make()
    images = 0.2 * torch.rand(8, 1, 32, 32, generator=rng)
    labels = torch.zeros(8, 32, 32, dtype=torch.long)
    labels[:, 8:24, 8:24] = 1
    images[labels[:, None] == 1] += 0.8
    batch = LabelledImageBatch(torch.arange(8), images, labels)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    for number in range(50):
        optimizer.zero_grad()
        method(batch, Step(0, number, number))["loss"].backward()
        optimizer.step()
    predicted = method.eval().predict(images).argmax(dim=1)
    assert predicted.shape == labels.shape
    assert (predicted == labels).float().mean() > 0.95


def test_every_parameter_is_in_one_group():
    method = make(encoder_lr_scale=0.1)
    grouped = [p for group in method.parameter_groups() for p in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in method.parameters()}
    assert len(grouped) == len(set(map(id, grouped)))


def test_data_without_classes_is_refused():
    spec = ImageSpec(spatial_dims=2, channels=1, size=(32, 32), num_examples=8)
    with pytest.raises(ValueError, match="the data declares 0 classes"):
        Segmentation(spec, ResNetEncoder(SPEC, width=8), SegmentationAugment(), DiceCrossEntropy())


def test_an_augmentation_of_volumes_is_refused():
    with pytest.raises(ValueError, match=r"transform: expected volumes .* use segmentation_augment"):
        Segmentation(SPEC, ResNetEncoder(SPEC, width=8), VolumeSegmentationAugment(), DiceCrossEntropy())


def test_flips_change_predictions_and_not_training(rng):
    images = torch.rand(2, 1, 32, 32, generator=rng)
    plain, flipped = make().eval(), make(test_flips=(0, 1)).eval()
    assert torch.equal(plain.logits(images), flipped.logits(images))
    assert not torch.allclose(plain.predict(images).softmax(1), flipped.predict(images).softmax(1))
    torch.testing.assert_close(flipped.predict(images.flip(3)), flipped.predict(images).flip(3))
