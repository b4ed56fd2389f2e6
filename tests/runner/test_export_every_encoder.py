"""Every encoder of images and volumes leaves in every format with the same features, most without medgraph."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import medgraph
from medgraph import catalogue, config
from medgraph.data.spec import ImageSpec
from medgraph.runner.export import export_encoder
from medgraph.runner.export_formats import export

RESNET = {"name": "resnet", "depth": 10, "width": 4}
PLAIN = {
    "conv": {"name": "conv", "width": 4},
    "resnet": RESNET,
    "resnet_padded": {**RESNET, "name": "resnet_padded"},
    "segresnet": {"name": "segresnet", "width": 8, "blocks": [1, 1, 1]},
    "swin": {"name": "swin", "width": 6, "depths": [2, 1, 1, 1], "num_heads": [1, 2, 2, 4], "window": 3},
    "headed": {"name": "headed", "inner_encoder": RESNET, "out_dim": 5},
    "ensemble": {"name": "ensemble", "encoders": [RESNET, RESNET]},
    "common_salient": {"name": "common_salient", "common_encoder": RESNET, "salient_encoder": {"name": "conv"}},
}
STACKED = {"name": "volume", "slice_encoder": RESNET, "attention": {"name": "ms1d", "num_heads": 2}, "dim": 8}
# name -> (node, spatial dimensions); a volume encoder looks at slices
ENCODERS = {f"{name}-{dims}d": (node, dims) for name, node in PLAIN.items() for dims in (2, 3)}
ENCODERS |= {"volume": ({**STACKED, "num_layers": 1, "hidden_dim": 8}, 2)}
SIZES = {2: (40, 36), 3: (20, 24, 18)}
OF_GRAPHS = {"metapath", "metapath_sampled", "smoothed"}

PT2 = "import numpy as np, sys, torch\n"
PT2 += "def run(path, x): return torch.export.load(path + '.pt2').module()(torch.from_numpy(x)).detach().numpy()\n"
ONNX = "import numpy as np, onnxruntime, sys\n"
ONNX += "def run(path, x):\n session = onnxruntime.InferenceSession(path + '.onnx')\n"
ONNX += " return session.run(None, {session.get_inputs()[0].name: x})[0]\n"
EACH = "for path in sys.argv[1:]: np.save(path + '.y.npy', run(path, np.load(path + '.x.npy')))\n"
END = "assert not any(name.startswith(('medgraph', 'monai')) for name in sys.modules)\n"


def exported(folder, name):
    """An encoder's folder, statistics and weights as after a training."""
    node, dims = ENCODERS[name]
    spec = ImageSpec(dims, 1, SIZES[dims], 10)
    encoder = config.build(_with_defaults(node), "encoders", spec=spec).eval()
    for module in encoder.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    export_encoder(folder, encoder, _with_defaults(node), spec, {"seed": 3, "stage": "pretrain"})
    return folder


def _with_defaults(node):
    inner = {
        key: _with_defaults(value) for key, value in node.items() if isinstance(value, dict) and key != "attention"
    }
    inner |= {key: [_with_defaults(each) for each in value] for key, value in node.items() if key == "encoders"}
    attention = {"attention": config.with_defaults(node["attention"], "attentions")} if "attention" in node else {}
    return config.with_defaults(node | inner | attention, "encoders")


def images(name, batch):
    dims = ENCODERS[name][1]
    shape = (batch, 11, 1, *SIZES[2]) if name == "volume" else (batch, 1, *SIZES[dims])
    return torch.rand(shape, generator=torch.Generator().manual_seed(batch))


def features(folder, x):
    with torch.no_grad():
        return medgraph.load_encoder(folder)(x).numpy()


def test_no_encoder_of_the_catalogue_is_left_out():
    assert {node["name"] for node, _ in ENCODERS.values()} == set(catalogue.TABLES["encoders"]) - OF_GRAPHS


@pytest.mark.parametrize("name", ENCODERS)
def test_it_is_a_plain_module_that_tells_its_width_and_dimensions(tmp_path, name):
    encoder = medgraph.load_encoder(exported(tmp_path / "encoder", name))
    assert isinstance(encoder, nn.Module)
    assert not encoder.training
    assert encoder.spatial_dims == ENCODERS[name][1]
    assert encoder(images(name, 2)).shape == (2, encoder.out_dim)
    assert callable(encoder.preprocess)


@pytest.mark.parametrize("format", ["safetensors", "hf"])
@pytest.mark.parametrize("name", ENCODERS)
def test_weights_and_json_rebuild_it(tmp_path, name, format):
    folder = exported(tmp_path / "encoder", name)
    out = export(folder, format, tmp_path / "out")
    np.testing.assert_array_equal(features(out, images(name, 2)), features(folder, images(name, 2)))


@pytest.mark.slow
@pytest.mark.parametrize(("format", "script"), [("pt2", PT2), ("onnx", ONNX)])
def test_another_process_without_medgraph_gives_the_same_features(tmp_path, format, script):
    """One process for all, as each needs seconds to start; other batches than the one that was exported."""
    for name in ENCODERS:
        out = export(exported(tmp_path / "encoders" / name, name), format, tmp_path / "out" / name)
        np.save(out / "encoder.x.npy", images(name, 5).numpy())
    paths = [str(tmp_path / "out" / name / "encoder") for name in ENCODERS]
    done = subprocess.run(
        [sys.executable, "-c", script + EACH + END, *paths], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name, path in zip(ENCODERS, paths, strict=True):
        expected = features(tmp_path / "encoders" / name, images(name, 5))
        assert expected.std() > 1e-3, name  # features that differ
        np.testing.assert_allclose(np.load(f"{path}.y.npy"), expected, rtol=0, atol=1e-5, err_msg=name)
