import pytest
import torch

from medgraph.data.classified import ClassBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Step
from medgraph.nn.encoders import ResNetEncoder
from medgraph.transforms.image_views import ImageViews
from medgraph.transforms.stack_views import StackViews
from medgraph.volume.classification import Classification
from medgraph.volume.encoder import VolumeEncoder
from medgraph.volume.slice_attention import Identity

SPEC = ImageSpec(2, 1, (16, 16), 8, ("dark", "bright"))


def make(spec=SPEC, **arguments) -> Classification:
    torch.manual_seed(3)
    return Classification(spec, ResNetEncoder(spec, depth=18, width=4), **arguments)


def test_an_encoder_that_looks_across_slices_and_stacks_go_together_alone():
    stacks = ImageSpec(2, 1, (16, 16), 8, ("dark", "bright"), num_volumes=8, num_slices=(5, 5))
    volume = VolumeEncoder(stacks, ResNetEncoder(SPEC, width=4), Identity(), dim=8)
    with pytest.raises(ValueError, match="encoder: it looks across slices, but the data give single images"):
        Classification(SPEC, volume)
    with pytest.raises(ValueError, match="encoder: it sees one image at a time, but the data give stacks of slices"):
        make(stacks)
    with pytest.raises(ValueError, match="views: the data give stacks of slices, expected stack_views, or none"):
        Classification(stacks, volume, views=ImageViews())
    with pytest.raises(ValueError, match="views: the data give single images, expected image or volume views"):
        make(views=StackViews())
    with pytest.raises(ValueError, match="views: saturation, gray_probability: are for 3 channels, the images have 1"):
        make(views=ImageViews(saturation=0.4))
    with pytest.raises(ValueError, match="views: num_slices, stride: here whole volumes are seen"):
        Classification(stacks, volume, views=StackViews(num_slices=3))
    images = torch.rand(3, 5, 1, 16, 16)
    batch = ClassBatch(torch.arange(3), images, torch.tensor([0, 1, 0]))
    method = Classification(stacks, volume)
    method(batch, Step(0, 0, 0))["loss"].backward()
    assert method.predict(images).shape == (3, 2)


def test_stacks_are_augmented_alike_in_all_their_slices():
    stacks = ImageSpec(2, 1, (16, 16), 8, ("dark", "bright"), num_volumes=8, num_slices=(5, 5))
    volume = VolumeEncoder(stacks, ResNetEncoder(SPEC, width=4), Identity(), dim=8)
    views = StackViews(kinds=("flip", "none"), different=False, rotation=0.0, shift=0.0, scale=(1.0, 1.0))
    method = Classification(stacks, volume, views=views)
    images = torch.rand(16, 5, 1, 16, 16)
    (seen,) = method.views_of(ClassBatch(torch.arange(16), images, torch.zeros(16).long()), Step(0, 0, 0))
    flipped = [torch.allclose(one, image.flip(3), atol=1e-5) for one, image in zip(seen, images, strict=True)]
    kept = [torch.allclose(one, image, atol=1e-5) for one, image in zip(seen, images, strict=True)]
    assert sum(flipped) + sum(kept) == 16
    assert min(sum(flipped), sum(kept)) > 3


def batch_of(rng, dims=2):
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    images = 0.3 * torch.rand(8, 1, *(16,) * dims, generator=rng) + 0.6 * labels.view(-1, *(1,) * (dims + 1))
    return ClassBatch(torch.arange(8), images, labels)


def learn(method, batch, steps=12):
    optimizer = torch.optim.AdamW(method.parameter_groups(), lr=5e-3)
    method.train()
    for number in range(steps):
        optimizer.zero_grad()
        method(batch, Step(0, number, number))["loss"].backward()
        optimizer.step()
    return method.eval()


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
def test_it_learns_bright_from_dark(rng, dims):
    spec = ImageSpec(dims, 1, (16,) * dims, 8, ("dark", "bright"))
    batch = batch_of(rng, dims)
    method = learn(make(spec, views=ImageViews(change_probability=0.0) if dims == 2 else None), batch, steps=40)
    assert torch.equal(method.predict(batch.images).argmax(dim=1), batch.labels)


def test_a_frozen_encoder_stays_to_the_last_bit_and_the_classifier_learns(rng):
    method, before = make(freeze=True), make(freeze=True).state_dict()
    learn(method, batch_of(rng), steps=3)
    for name, value in method.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("head")), name
    assert len(method.parameter_groups()) == 1


def test_in_the_warmup_the_encoder_gets_no_gradient(rng):
    method, batch = make(head_warmup=2), batch_of(rng)
    for number, learns in ((0, False), (1, False), (2, True)):
        method.zero_grad()
        method(batch, Step(0, 0, number))["loss"].backward()
        assert any(p.grad is not None for p in method.encoder.parameters()) == learns
        assert method.head.weight.grad is not None


def test_a_rare_class_counts_like_a_frequent_one(rng):
    batch = batch_of(rng)
    method = make()
    method.on_epoch_start(Step(0, 0, 0), iter([batch, batch]))
    torch.testing.assert_close(method.class_weights, torch.tensor([16 / 24, 16 / 8]))
    plain = make(balanced=False)
    plain.on_epoch_start(Step(0, 0, 0), iter([batch]))
    assert plain.class_weights.tolist() == [1.0, 1.0]


def test_the_encoder_has_its_own_learning_rate():
    groups = make(encoder_lr_scale=0.1).parameter_groups()
    assert [group.get("lr_scale", 1.0) for group in groups] == [1.0, 0.1]
    assert sum(len(group["params"]) for group in groups) == len(list(make().parameters()))


def test_rates_fall_towards_the_image():
    head, *levels = [
        group.get("lr_scale", 1.0) for group in make(layer_decay=0.5, encoder_lr_scale=0.4).parameter_groups()
    ]
    assert head == 1.0
    assert levels == pytest.approx([0.4 * 0.5**n for n in reversed(range(len(levels)))])
    assert len(levels) > 3


def test_settings_without_effect_and_data_without_classes_are_refused():
    with pytest.raises(ValueError, match="freeze: the encoder does not learn, so encoder_lr_scale"):
        make(freeze=True, head_warmup=3)
    with pytest.raises(ValueError, match="the data declares 0 classes; expected two or more"):
        make(ImageSpec(2, 1, (16, 16), 8))
