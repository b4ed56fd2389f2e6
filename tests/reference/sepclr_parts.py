"""Small parts that SepCLR's tests share, and what each of several processes checks about it."""

from types import SimpleNamespace

import torch

from medgraph import processes
from medgraph.config.schema import Train
from medgraph.data.batches import GroupedImageBatch
from medgraph.data.grouped import GroupedImages
from medgraph.data.spec import ImageSpec
from medgraph.losses.kernel_joint_entropy import KernelJointEntropy
from medgraph.method import Step
from medgraph.runner.train import _Loop
from medgraph.sepclr.encoder import CommonSalientEncoder
from medgraph.sepclr.sepclr import SepCLR
from medgraph.sepclr.supervised import SupervisedSepCLR
from medgraph.transforms.image_views import ImageViews
from medgraph.transforms.volume_views import VolumeViews

SIZES = {2: (16, 16), 3: (8, 12, 8)}


def spec(dims=2, attributes=()):
    """Facts of tiny gray images or volumes."""
    return ImageSpec(dims, 1, SIZES[dims], 64, attributes=attributes)


class TinyEncoder(torch.nn.Module):
    """One convolution of four channels with batch norm, and the mean of its map."""

    out_dim, pyramid_dims, pyramid_strides = 4, (4,), (2,)

    def __init__(self, dims=2):
        super().__init__()
        conv, norm = (torch.nn.Conv2d, torch.nn.BatchNorm2d) if dims == 2 else (torch.nn.Conv3d, torch.nn.BatchNorm3d)
        self.layers = torch.nn.Sequential(conv(1, 4, 3, 2, 1), norm(4), torch.nn.ReLU())

    def pyramid(self, x):
        """Its one map."""
        return [self.layers(x)]

    def forward(self, x):
        return self.layers(x).flatten(2).mean(dim=2)


def encoder(dims=2, common_dim=6, salient_dim=4):
    """Two tiny encoders."""
    facts = spec(dims)
    return CommonSalientEncoder(facts, TinyEncoder(dims), TinyEncoder(dims), common_dim, salient_dim)


def views(dims=2):
    """Gentle views."""
    return ImageViews(area=(0.8, 1.0), brightness=0.05, contrast=0.05) if dims == 2 else VolumeViews(rotation=5.0)


def method(dims=2, **settings):
    """A small SepCLR with k-JEM."""
    torch.manual_seed(3)
    return SepCLR(spec(dims), encoder(dims), views(dims), settings.pop("term", KernelJointEntropy()), 8, **settings)


def batch(dims=2, n=12, attributes=0):
    """Noise images; the second half are targets and brighter in one corner."""
    rng = torch.Generator().manual_seed(5)
    images = torch.rand(n, 1, *SIZES[dims], generator=rng)
    is_target = torch.arange(n) >= n // 2
    images[is_target, :, :4, :4] += 1.0
    return GroupedImageBatch(torch.arange(n), images, is_target, torch.rand(n, attributes, generator=rng))


def dataset(n=20):
    """The batch as a data set."""
    whole = batch(n=n)
    return GroupedImages(lambda rows: whole.images[rows], whole.is_target, whole.attributes, whole.ids, "noise")


def _gradients(rows, queue_size):
    model = method(queue_size=queue_size).double()
    for module in model.modules():  # statistics of a part of the batch differ, whatever the loss
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    whole = batch()
    part = GroupedImageBatch(*(x[rows] for x in (whole.ids, whole.images.double(), whole.is_target, whole.attributes)))
    for number in range(2):  # the second step sees what the first one left in the queue
        model.zero_grad()
        outputs = model(part, Step(1, 0, number))
        outputs["loss"].backward()
    held = None if model.queue is None else model.queue.vectors()
    return outputs, {name: p.grad for name, p in model.named_parameters()}, held


def check_equals_one_process():
    """Averaged gradients of this process's part of the batch, in codes of all processes, are those of the whole."""
    for queue_size in (0, 20):
        _check_equals_one_process(queue_size)


def _check_equals_one_process(queue_size):
    world, rank = processes.world_size(), processes.rank()
    outputs, found, held = _gradients(torch.arange(12) % world == rank, queue_size)
    averaged = {name: processes.all_reduce_sum(gradient) / world for name, gradient in found.items()}
    alone = processes.world_size, processes.rank
    processes.world_size, processes.rank = lambda group=None: 1, lambda group=None: 0
    order = torch.cat([torch.arange(12)[torch.arange(12) % world == r] for r in range(world)])  # as gathered
    expected_outputs, expected, expected_held = _gradients(order, queue_size)
    processes.world_size, processes.rank = alone
    for name in ("loss", "common_uniformity", "salient_uniformity", "collapse", "independence", "self_share"):
        torch.testing.assert_close(outputs[name], expected_outputs[name], rtol=1e-9, atol=1e-9)
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-3
    for name, gradient in expected.items():
        torch.testing.assert_close(averaged[name], gradient, rtol=1e-8, atol=1e-9)
    if queue_size:  # every process holds the same 20 newest codes, in the same order
        torch.testing.assert_close(held, expected_held, rtol=1e-9, atol=1e-9)


def supervised():
    """A small supervised SepCLR: one number, one category, of three attributes."""
    torch.manual_seed(0)
    settings = {"number_attributes": ("radius",), "category_attributes": ("kind",)}
    facts = spec(attributes=("age", "radius", "kind"))
    return SupervisedSepCLR(facts, encoder(salient_dim=2), views(), KernelJointEntropy(), hidden_dim=8, **settings)


def _supervised_gradients(rows):
    model = supervised()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    whole = batch(attributes=3)
    whole.attributes[:, 2] = torch.arange(12) % 2
    whole.attributes[7, 1] = torch.nan
    part = GroupedImageBatch(*(x[rows] for x in (whole.ids, whole.images, whole.is_target, whole.attributes)))
    outputs = model(part, Step(1, 0, 0))
    outputs["loss"].backward()
    return outputs, {name: p.grad for name, p in model.named_parameters()}, (model.low, model.high)


def check_supervised_equals_one_process():
    """As `check_equals_one_process`, in single precision; the range of a number is that of all processes."""
    world, rank = processes.world_size(), processes.rank()
    outputs, found, ranges = _supervised_gradients(torch.arange(12) % world == rank)
    averaged = {name: processes.all_reduce_sum(gradient) / world for name, gradient in found.items()}
    alone = processes.world_size, processes.rank
    processes.world_size, processes.rank = lambda group=None: 1, lambda group=None: 0
    expected_outputs, expected, expected_ranges = _supervised_gradients(torch.arange(12))
    processes.world_size, processes.rank = alone
    torch.testing.assert_close(outputs["loss"], expected_outputs["loss"])
    torch.testing.assert_close(ranges, expected_ranges, rtol=0, atol=0)
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-3
    for name, gradient in expected.items():
        torch.testing.assert_close(averaged[name], gradient, rtol=1e-4, atol=1e-4)


def check_each_process_holds_both_groups():
    """The loop's own batches: in each process half of a batch are targets, and no example is in two processes."""
    model, whole = method(), dataset(40)
    loop = _Loop.__new__(_Loop)  # its batches need no more than this
    loop.method, loop.dataset, loop.seed = model, whole, 3
    loop.plan = Train(epochs=2, batch_size=8, optimizer={}, schedule={})
    loop.accelerator = SimpleNamespace(num_processes=processes.world_size(), process_index=processes.rank())
    for epoch in range(2):
        batches = loop._batches(epoch)
        assert len(batches) == 2
        for number, rows in enumerate(batches):
            own = whole.__getitems__(rows)
            assert int(own.is_target.sum()) == 4
            assert len(processes.gather(own.ids).unique()) == 16
            outputs = model(own, Step(3, epoch, number))
            torch.testing.assert_close(processes.all_reduce_max(outputs["loss"]), outputs["loss"].detach())
