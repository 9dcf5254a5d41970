"""A model as numbers, and its first layers as a model."""

import json

import pytest
import torch

from halo_forge.config.sections import LoraSettings
from halo_forge.engines.row_cache import position_bytes
from halo_forge.models import load
from halo_forge.models.cut import first_layers
from halo_forge.models.lora import add_lora
from halo_forge.models.shape import shape_of


def test_a_shape_counts_what_the_model_has(tiny_model_dir) -> None:
    """Weights of layers, output layer, adapters and all together, as the loaded model has them."""
    settings = LoraSettings(r=4)
    shape = shape_of(tiny_model_dir, settings)
    model = load.load_model(tiny_model_dir, dtype=torch.float32)
    layers = model.model.layers
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert shape.linear == sum(p.numel() for p in layers.parameters() if p.dim() > 1)
    assert shape.head == model.lm_head.weight.numel()
    assert (shape.layers, shape.width, shape.queries, shape.keys) == (2, 64, 64, 32)
    adapted = add_lora(model, settings, seed=0)
    assert shape.adapters == sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert shape_of(tiny_model_dir, LoraSettings(enabled=False)).adapters == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_without_values_tells_of_its_cache(tiny_model_dir, dtype) -> None:
    """Keys and values of a position take what they take in the model that is loaded."""
    skeleton = load.load_skeleton(tiny_model_dir).to(dtype)
    found = position_bytes(skeleton)
    assert found == position_bytes(load.load_model(tiny_model_dir, dtype=dtype))
    assert found == 2 * 2 * 32 * dtype.itemsize


def test_first_layers_are_a_model(tiny_model_dir) -> None:
    """The folder loads with fewer layers, the same weights, and copies none of them."""
    whole = load.load_model(tiny_model_dir, dtype=torch.float32)
    with first_layers(tiny_model_dir, 1) as folder:
        model = load.load_model(folder, dtype=torch.float32)
        assert len(load.load_tokenizer(folder)) == len(load.load_tokenizer(tiny_model_dir))
        assert all(p.is_symlink() for p in folder.iterdir() if p.name != "config.json")
        assert shape_of(folder).layers == 1
    assert not folder.exists()
    assert len(model.model.layers) == 1
    first, same = (one.model.layers[0].mlp.up_proj.weight for one in (whole, model))
    assert torch.equal(first, same)


def test_the_model_itself_is_left_alone(tiny_model_dir) -> None:
    """Its configuration still says how many layers it has."""
    with first_layers(tiny_model_dir, 1):
        pass
    assert json.loads((tiny_model_dir / "config.json").read_text())["num_hidden_layers"] == 2
