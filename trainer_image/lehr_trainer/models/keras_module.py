"""A Keras 3 model on the torch backend as the `torch.nn.Module` that the trainer trains, resumes and exports.

* **Names and state.** Every variable is a parameter or buffer under the name that Keras gave it, without that of the
  model: `dense.kernel`. Statistics of norms and states of seeded random layers are buffers: checkpoints have them.
* **Modes.** Keras is told by an argument of the call whether it trains; torch by `train()` and `eval()`. A layer whose
  parameters are all frozen becomes `trainable = False`, by which Keras keeps a batch norm's statistics.
* **Logits.** A classifier of Keras usually ends in a softmax, the trainer's loss and export begin with one. One that
  the last layer applies is taken out of the model, and both forms are compared on a few rows.
* **Device.** Keras makes its variables on the CPU, whose random numbers are the same everywhere, and computes where the
  pixels are.

Nothing here imports Keras unless the project did. Its optimiser, loss and `fit` are not used: the recipe has those.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lehr_trainer.errors import ModelCodeError

Tensor = Any
_PROOF_ROWS = 4
_PROOF_TOLERANCE = 1e-5


def prepare_keras() -> None:
    """Settle what Keras reads when it is imported, and let it count the names of layers from the beginning."""
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["KERAS_TORCH_DEVICE"] = "cpu"
    # Not the keras.json of whoever runs this: what it says decides types and layouts.
    os.environ.setdefault("KERAS_HOME", str(Path(tempfile.gettempdir()) / "lehr-keras"))
    if (keras := sys.modules.get("keras")) is not None:
        keras.utils.clear_session()


def adapt_keras(module: Any, *, input_shape: tuple[int, ...], place: str, log: Callable[[str], None]) -> Any:
    """A KerasModule for a model of Keras, anything else as it is. Raises ModelCodeError for what cannot be trained."""
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(module, nn.Module):
        return module
    if not isinstance(module, keras.Layer):
        if any(isinstance(part, keras.Layer) for part in module.modules()):
            raise ModelCodeError(
                "returned a torch module with Keras layers in it",
                place=place,
                hint="return a keras.Model, or use layers of torch: Keras is told otherwise whether it trains",
            )
        return module
    if keras.backend.backend() != "torch":
        raise ModelCodeError(
            f"returned a model of Keras on {keras.backend.backend()}",
            place=place,
            hint="leave KERAS_BACKEND to the trainer, which sets it to torch before it imports the project",
        )
    rows = torch.rand(_PROOF_ROWS, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # Makes the variables of a model that was not told its input's shape.
        expected = module(rows, training=False)
        network = _without_softmax(module, keras)
        if network is not None:
            log(
                f"{place}: the softmax at the end of the Keras model is left to the loss and to the exported graph"
            )
            found = torch.softmax(network(rows, training=False), dim=-1)
            if not torch.allclose(found, expected, rtol=0, atol=_PROOF_TOLERANCE):
                raise ModelCodeError(
                    "returned a Keras model whose last layer cannot be told from its softmax",
                    place=place,
                    hint="leave the softmax out, and let the model give logits",
                )
    return KerasModule(module if network is None else network, keras)


def has_keras(model: Any) -> bool:
    """Whether a part of `model` is one of Keras."""
    return any(isinstance(part, KerasModule) for part in model.modules())


class KerasModule(nn.Module):  # type: ignore[misc]
    """Pixels to what the Keras model gives for them."""

    def __init__(self, network: Any, keras: Any) -> None:
        super().__init__()
        # Past nn.Module's own bookkeeping: the parameters are registered below, under plain names.
        self.__dict__["_network"] = network
        self._device: Callable[[str], Any] = keras.device
        self._layers_of: Callable[[], list[Any]] = network._flatten_layers
        for path, variable in _named_variables(network):
            holder: Any = self
            for name in path[:-1]:
                holder = _child(holder, name)
            if variable.trainable:
                holder.register_parameter(_free(holder, path[-1]), variable.value)
            else:
                holder.register_buffer(_free(holder, path[-1]), variable.value)

    def forward(self, x: Tensor) -> Tensor:
        with self._device(x.device.type):
            return self._network(x, training=self.training)

    def train(self, mode: bool = True) -> Any:
        """Set the mode, and tell Keras which layers have been frozen since."""
        super().train(mode)
        for layer in self._layers_of():
            variables = layer.trainable_variables
            if variables and not any(variable.value.requires_grad for variable in variables):
                layer.trainable = False
        return self


class _Variables(nn.Module):  # type: ignore[misc]
    """Holds variables of one Keras layer, or of the layers within it."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Moved to another device, a buffer stays the object that Keras holds, as a parameter does by itself."""
        held = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in held.items():
            buffer.data = self._buffers[name].data
            self._buffers[name] = buffer
        return self


def _named_variables(network: Any) -> Iterator[tuple[list[str], Any]]:
    """Each variable once, with the parts of its name; those of metrics, which `compile` adds, are left out."""
    seen = {id(variable) for variable in getattr(network, "metrics_variables", ())}
    for variable in network.variables:
        if id(variable) in seen:
            continue
        seen.add(id(variable))
        path = variable.path.replace(".", "_").split("/")
        yield (path[1:] if len(path) > 1 and path[0] == network.name else path), variable


def _child(holder: Any, name: str) -> Any:
    """The holder below `holder`, made where there is none."""
    found = holder._modules.get(name) or holder._modules.get(f"{name}_")
    if found is None:
        found = _Variables()
        holder.add_module(_free(holder, name), found)
    return found


def _free(holder: Any, name: str) -> str:
    """`name`, or one like it that is no attribute of a module."""
    while hasattr(holder, name):
        name += "_"
    return name


def _without_softmax(network: Any, keras: Any) -> Any | None:
    """The model without the softmax of its last layer; None where it has none that can be seen."""
    last = _last_layer(network, keras)
    if isinstance(last, keras.layers.Softmax):
        return keras.Model(network.inputs, last.input) if last in network.layers else None
    if getattr(last, "activation", None) is not keras.activations.softmax:
        return None
    last.activation = keras.activations.linear
    return network


def _last_layer(network: Any, keras: Any) -> Any:
    """The layer whose output is the model's, also if it is the last one of a model within; None for other classes."""
    while isinstance(network, keras.Sequential) or hasattr(network, "operations"):
        if isinstance(network, keras.Sequential):
            network = network.layers[-1]
        else:
            network = network.outputs[0]._keras_history.operation
    return network
