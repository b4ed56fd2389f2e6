import pytest
import torch

from medgraph.data.batches import ImageBatch, ImageStackBatch
from medgraph.losses.masked_prediction import MaskedPrediction
from medgraph.losses.prototype_cross_entropy import PrototypeCrossEntropy
from medgraph.method import Step
from medgraph.transforms.crops import MultiCrop
from medgraph.transforms.stack_views import StackViews
from medgraph.volume.assigner import DeepCluster, SwAV
from medgraph.volume.inter import Inter
from medgraph.volume.joint import Joint

SWAV, CLUSTER = SwAV(num_prototypes=4, queue_size=0), DeepCluster(num_prototypes=4, num_heads=2)


@pytest.fixture
def make(spec, make_encoder):
    def make(images=CLUSTER, volumes=CLUSTER, crops=None, **arguments) -> Joint:
        crops = crops or MultiCrop(sizes=(16,), counts=(2,), areas=((0.4, 1.0),))
        losses = PrototypeCrossEntropy(temperature=0.1), MaskedPrediction()
        arguments = {"embedding_dim": 8, **arguments}
        return Joint(spec, make_encoder(), crops, StackViews(), *losses, images, volumes, **arguments)

    return make


@pytest.fixture
def batch(make_stacks, rng):
    images = ImageBatch(torch.arange(12), torch.rand(12, 1, 16, 16, generator=rng), torch.arange(12) % 2)
    return ImageStackBatch(images, make_stacks())


def step_of(method, batch, number=0):
    torch.manual_seed(8)
    return method(batch, Step(0, 0, number))


@pytest.mark.parametrize("images", [SWAV, CLUSTER], ids=["swav", "deepcluster"])
@pytest.mark.parametrize("volumes", [SWAV, CLUSTER], ids=["swav", "deepcluster"])
def test_one_step_trains_every_part(images, volumes, make, batch):
    method = make(images, volumes)
    method.on_epoch_start(Step(0, 0, 0), [batch])
    outputs = step_of(method, batch)
    outputs["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []
    wanted = {"code_entropy", "source_nmi", "order_sensitivity"}
    wanted |= {f"volume_{n}" for n in ("code_entropy", "source_nmi", "loss_minus_ln_k", "effective_rank")}
    assert wanted <= outputs.keys()
    assert method.watched()["loss"] == outputs["image_loss"]


def test_the_loss_is_the_weighted_sum(make, batch):
    method = make(image_weight=2.0, volume_weight=0.5, mask_weight=3.0)
    method.on_epoch_start(Step(0, 0, 0), [batch])
    out = step_of(method, batch)
    expected = 2 * out["image_loss"] + 0.5 * out["volume_loss"] + 3 * out["mask_loss"]
    torch.testing.assert_close(out["loss"], expected)
    unmasked = make_ready(make(mask_weight=0.0, mask_ratio=1.0), batch)  # hides nothing, however large
    assert step_of(unmasked, batch)["mask_loss"] == 0
    assert not any(name.startswith("masker") for name in unmasked.state_dict())


def test_the_cross_dimensional_term_is_added_where_asked_for(make, batch):
    plain = step_of(make_ready(make(SWAV, SWAV, hidden_dim=8), batch), batch)
    assert "cross_loss" not in plain
    method = make_ready(make(SWAV, SWAV, hidden_dim=8, embedding_dim=16, cross_weight=0.5), batch)
    out = step_of(method, batch)
    parts = out["image_loss"] + out["volume_loss"] + out["mask_loss"] + 0.5 * out["cross_loss"]
    torch.testing.assert_close(out["loss"], parts)
    out["cross_loss"].backward()
    for part in (method.encoder.slice_encoder.network.conv1, method.encoder.tokens.linear):
        assert part.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in method.projector.parameters())


def make_ready(method, batch):
    method.on_epoch_start(Step(0, 0, 0), [batch])
    return method


def test_the_masked_term_trains_the_transformer_alone(make, batch):
    method = make_ready(make(), batch)
    step_of(method, batch)["mask_loss"].backward()
    assert all(p.grad is None for p in method.encoder.slice_encoder.parameters())
    assert all(p.grad is None for p in method.encoder.tokens.parameters())
    assert method.masker.hidden_token.grad.abs().sum() > 0


def test_volumes_are_treated_as_by_inter(make, batch, spec, make_encoder):
    joint = make_ready(make(SWAV, SWAV), batch)
    inter = Inter(spec, make_encoder(), StackViews(), PrototypeCrossEntropy(temperature=0.1), SWAV)
    inter.load_state_dict(
        {k.replace("volume_assigner", "assigner"): v for k, v in joint.state_dict().items()}, strict=False
    )
    for method in (joint, inter):
        method.eval()
    expected = inter(batch.volumes, Step(0, 0, 0))["loss"]
    torch.testing.assert_close(step_of(joint, batch)["volume_loss"], expected)


@pytest.mark.parametrize("center", [False, True])
def test_what_a_batch_shares_is_taken_out_of_both_kinds_where_asked_for(center, make, batch):
    method, means = make(SWAV, SWAV, center_embeddings=center), []
    for part in (method.center, method.projector):
        part.register_forward_hook(lambda _, inputs, output: means.append(output.detach().mean(dim=0).abs().max()))
    step_of(method, batch)
    assert len(means) == 2
    assert [mean < 1e-5 for mean in means] == [center, center]


def test_volumes_are_embedded_as_they_come(make, batch, make_stacks):
    """The whole set would not fit into memory."""
    method = make()

    def batches():
        for first in (0, 4, 8):
            yield ImageStackBatch(batch.images if first else None, make_stacks(first_id=first))
            assert int(method.volume_assigner.banks[0].valid.sum()) == first + 4

    method.train().on_epoch_start(Step(0, 0, 0), batches())
    assert method.training
    assert int(method.image_assigner.banks[0].valid.sum()) == 12


def test_both_banks_are_filled_from_batches_of_either_kind(make, batch):
    method = make()
    parts = [ImageStackBatch(batch.images, None), ImageStackBatch(None, batch.volumes)]
    method.on_epoch_start(Step(0, 0, 0), parts)
    assert int(method.image_assigner.banks[0].valid.sum()) == 12
    assert int(method.volume_assigner.banks[1].valid.sum()) == 4
    mixed = make(SWAV, CLUSTER)
    mixed.on_epoch_start(Step(0, 0, 0), parts)
    assert int(mixed.volume_assigner.banks[0].valid.sum()) == 4


def test_a_restored_run_goes_on_with_the_same_loss(make, batch):
    first = make_ready(make(SWAV, CLUSTER), batch)
    step_of(first, batch)["loss"].backward()
    again = make(SWAV, CLUSTER)
    again.load_state_dict(first.state_dict())
    assert step_of(again, batch, 1)["loss"].item() == step_of(first, batch, 1)["loss"].item()


def test_pictures_are_left_of_volumes_only(make, batch, make_stacks, tmp_path):
    method = make()
    method.illustrate(tmp_path, ImageStackBatch(batch.images, None))
    assert not (tmp_path / "slice_attention").exists()
    method.illustrate(tmp_path, ImageStackBatch(None, make_stacks((6,))))
    assert len(list((tmp_path / "slice_attention").iterdir())) == 1


def test_every_parameter_is_in_one_group(make):
    method = make(slice_encoder_lr_scale=0.5)
    grouped = [p for group in method.parameter_groups() for p in group["params"]]
    assert len(grouped) == len(set(map(id, grouped))) == len(list(method.parameters()))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"images": SwAV(num_prototypes=17)}, "image_assigner.num_prototypes: 17 prototypes for 16 training examples"),
        ({"volumes": SwAV(num_prototypes=5)}, "volume_assigner.num_prototypes: 5 prototypes for 16 training volumes"),
        ({"crops": StackViews()}, "image_views: StackViews are for stacks of slices, expected views of single images"),
        ({"mask_ratio": 1.0}, "mask_ratio: 1.0 hides 5 of the 5 slices"),
        ({"image_weight": -1.0}, "image_weight: expected 0 or more"),
        ({"volume_weight": -1.0}, "volume_weight: expected 0 or more"),
        ({"cross_weight": -1.0}, "cross_weight: expected 0 or more"),
        ({"cross_weight": 1.0}, "cross_weight: scores volumes of width 16 against prototypes of images of width 8"),
        ({"mask_weight": -1.0}, "mask_weight: expected 0 or more"),
        ({"image_weight": 0.0, "volume_weight": 0.0}, "the masked term alone cannot train the encoder"),
    ],
)
def test_wrong_settings(make, arguments, words):
    with pytest.raises(ValueError, match=words):
        make(**arguments)
