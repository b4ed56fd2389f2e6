import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from medgraph.data.batches import StackBatch
from medgraph.losses.prototype_cross_entropy import PrototypeCrossEntropy
from medgraph.method import Step
from medgraph.transforms.stack_views import StackViews
from medgraph.volume.assigner import DeepCluster, SwAV
from medgraph.volume.batch import make_views
from medgraph.volume.encoder import mean_slices
from medgraph.volume.inter import Inter, require_few_prototypes
from medgraph.volume.slice_attention import Identity, MultiScale
from medgraph.volume.slice_transformer import SliceTransformer

FLAVOURS = {"swav": SwAV(num_prototypes=4, queue_size=0), "deepcluster": DeepCluster(num_prototypes=4, num_heads=2)}


@pytest.fixture
def make(spec, make_encoder):
    def make(assigner=FLAVOURS["deepcluster"], views=None, **arguments) -> Inter:
        loss = PrototypeCrossEntropy(temperature=0.1)
        return Inter(spec, make_encoder(), views or StackViews(), loss, assigner, **arguments)

    return make


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("center", [False, True])
def test_a_step_reaches_slice_encoder_tokens_and_transformer(flavour, center, make, make_stacks):
    method, batch = make(FLAVOURS[flavour], center_embeddings=center), make_stacks()
    before = {name: p.clone() for name, p in method.encoder.named_parameters()}
    method.on_epoch_start(Step(0, 0, 0), [batch])
    outputs = method(batch, Step(0, 0, 0))
    outputs["loss"].backward()
    torch.optim.SGD(method.parameters(), lr=0.1).step()
    moved = {name for name, p in method.encoder.named_parameters() if not torch.equal(p, before[name])}
    for part in ("slice_encoder.network.conv1", "tokens.linear", "transformer.layers.0.attention.values"):
        assert f"{part}.weight" in moved
    assert {"code_entropy", "source_nmi", "order_sensitivity"} <= outputs.keys()
    assert method.watched()["embeddings"].shape == (4, 16)


@pytest.mark.parametrize("center", [False, True])
def test_what_all_volumes_share_is_taken_out_where_asked_for(center, make, make_stacks):
    method, seen = make(FLAVOURS["swav"], center_embeddings=center), []
    method.assigner.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
    views = make_views(method.views, make_stacks(), Step(0, 0, 0))
    method.encoder.eval()
    with torch.no_grad():
        plain = method.encoder(*views.flat())
        method.training_step(make_stacks(), Step(0, 0, 0), views)
    if center:
        plain = (plain - plain.mean(dim=0)) / (plain.var(dim=0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(torch.cat(seen), F.normalize(plain, dim=1), rtol=1e-4, atol=1e-4)


def test_the_loss_is_that_of_both_views(make, make_stacks):
    method, batch = make(FLAVOURS["deepcluster"]).eval(), make_stacks()
    method.on_epoch_start(Step(0, 0, 0), [batch])
    method.eval()
    views = make_views(method.views, batch, Step(0, 0, 0))
    labels, centroids = method.assigner.labels[:, batch.ids].clone(), method.assigner.centroids
    expected = []
    for view in views.views:
        z = []
        for row in range(4):
            n = int(views.valid[row].sum())
            slices = method.encoder.slice_encoder.pyramid(view[row, :n])
            contextual = method.encoder.transformer(method.encoder.tokens(slices)[None])
            z.append(F.normalize(contextual[0].mean(dim=0), dim=0))
        expected += [F.cross_entropy(torch.stack(z) @ c.T / 0.1, y) for c, y in zip(centroids, labels, strict=True)]
    loss = method(batch, Step(0, 0, 0))["loss"]
    assert loss.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_restored_run_goes_on_with_the_same_loss(flavour, make, make_stacks):
    first, batch = make(FLAVOURS[flavour]), make_stacks()
    optimizer = torch.optim.AdamW(first.parameters(), lr=1e-3)
    first.on_epoch_start(Step(0, 0, 0), [batch])
    for number in range(2):
        optimizer.zero_grad()
        torch.manual_seed(number)
        first(batch, Step(0, 0, number))["loss"].backward()
        optimizer.step()
    again = make(FLAVOURS[flavour])
    again.load_state_dict(first.state_dict())
    torch.manual_seed(9)
    expected = first(batch, Step(0, 0, 2))["loss"].item()
    torch.manual_seed(9)
    assert again(batch, Step(0, 0, 2))["loss"].item() == expected


def test_the_slice_encoder_has_its_own_learning_rate(make):
    groups = make(FLAVOURS["swav"], slice_encoder_lr_scale=0.3).parameter_groups()
    assert [group.get("lr_scale") for group in groups] == [0.3, None]
    method = make(FLAVOURS["swav"])
    assert sum(len(g["params"]) for g in method.parameter_groups()) == len(list(method.parameters()))


def test_pictures_of_the_attention_are_left(make, make_stacks, tmp_path):
    make().illustrate(tmp_path, make_stacks((6, 5)))
    files = sorted(path.name for path in (tmp_path / "slice_attention").iterdir())
    assert files == ["volume-0.png", "volume-1.png"]


def test_more_volume_prototypes_than_a_quarter_are_refused(make):
    words = r"assigner.num_prototypes: 5 prototypes for 16 training volumes; expected at most a quarter, 4"
    with pytest.raises(ValueError, match=words):
        make(SwAV(num_prototypes=5))


def test_too_few_volumes_for_any_prototypes_are_told_so(spec):
    with pytest.raises(
        ValueError, match="assigner: 7 training volumes, expected 8 or more: a prototype is for at least"
    ):
        require_few_prototypes("assigner", SwAV(num_prototypes=2), replace(spec, num_volumes=7))


def test_volumes_with_fewer_slices_than_asked_are_refused(make):
    with pytest.raises(ValueError, match="6 slices with stride 1 span 6, but the shortest training volume has 5"):
        make(views=StackViews(num_slices=6))


def test_a_learning_rate_factor_of_0_is_refused(make):
    with pytest.raises(ValueError, match="slice_encoder_lr_scale: expected a number above 0"):
        make(slice_encoder_lr_scale=0.0)


@pytest.mark.slow
def test_two_obvious_classes_are_learned(make, rng):
    """L_inter falls below half of ln K within 100 steps (10.13)."""
    texture = torch.rand(2, 16, 16, generator=rng)
    slices = texture[torch.arange(8) % 2][:, None, None] + 0.1 * torch.rand(8, 5, 1, 16, 16, generator=rng)
    ids = torch.arange(8)
    valid = torch.ones(8, 5, dtype=torch.bool)
    batch = StackBatch(ids, slices.clamp(0, 1), valid, torch.arange(40).reshape(8, 5), torch.zeros_like(ids))
    views = StackViews(rotation=3.0, shift=0.0, kinds=("noise", "gamma"), noise=(0.0, 0.02))
    method = make(DeepCluster(num_prototypes=2, num_heads=1), views)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    for number in range(100):
        if number % 5 == 0:
            method.on_epoch_start(Step(0, number // 5, number), [batch])
        optimizer.zero_grad()
        loss = method(batch, Step(0, number // 5, number))["loss"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * math.log(2)


@pytest.mark.parametrize(("attention", "separable"), [(MultiScale(), True), (Identity(), False)], ids=repr)
def test_only_an_order_aware_transformer_tells_ramps_apart(attention, separable, rng):
    """Slices brighten from left to right or from right to left: the bag of slices is the same (10.13)."""
    torch.manual_seed(0)
    direction = torch.arange(64) % 2
    ramp = torch.linspace(-1, 1, 9)[None] * (1 - 2 * direction[:, None])
    tokens = ramp[..., None] * torch.randn(16, generator=rng) + 0.3 * torch.randn(64, 9, 16, generator=rng)
    transformer = SliceTransformer(16, attention).eval()
    with torch.no_grad():
        z = F.normalize(mean_slices(transformer(tokens), torch.ones(64, 9, dtype=torch.bool)), dim=1)
    design = torch.cat([z[:48], torch.ones(48, 1)], dim=1)
    weights = torch.linalg.solve(design.T @ design + 0.01 * torch.eye(17), design.T @ (2.0 * direction[:48] - 1))
    right = ((torch.cat([z[48:], torch.ones(16, 1)], dim=1) @ weights > 0).long() == direction[48:]).float().mean()
    assert (right >= 0.9) == separable
