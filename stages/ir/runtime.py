"""OpenVINO's runtime as this project uses it: an IR read, and compiled for a device.

Consumes `openvino_model.xml` with its `.bin`, or a model in memory; produces compiled models and their properties. A
flipped byte in a `.bin` loads and computes nonsense, so verify the manifest first: this module does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.files.remedy import remedy

if TYPE_CHECKING:
    import numpy as np
    import openvino as ov

    from stages.settings.schema import Device

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}  # what errors are measured with
Inputs = dict[str, "np.ndarray"]  # of one request to a model, by name: sample, timestep, encoder_hidden_states, ...


def read(xml: Path) -> ov.Model:
    """The model of an IR file; FileNotFoundError without its `.xml` or `.bin`, ValueError if OpenVINO refuses it."""
    import openvino as ov

    for path in (xml, xml.with_suffix(".bin")):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {way(path)}")
    try:
        return ov.Core().read_model(xml)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{xml} cannot be read ({reason}): {way(xml)}") from error


def compile(model: ov.Model | Path, device: Device, *, reference: bool = False) -> ov.CompiledModel:
    """`model` ready to run on `device`; `reference`: in float32 with dynamic quantization off, on that same device."""
    import openvino as ov

    require_device(device.name)
    model = read(model) if isinstance(model, Path) else model
    return ov.Core().compile_model(model, device.name, device_config(device, reference))


def require_device(name: str) -> None:
    """ValueError that lists the devices present, if `name` (CPU, GPU, GPU.1, NPU) is not one of them."""
    import openvino as ov

    present = ov.Core().available_devices
    if name not in present and name not in {device.partition(".")[0] for device in present}:
        raise ValueError(f"device.name {name!r} is not on this machine; present: {', '.join(present)}")


def rows(inputs: Inputs) -> int:
    """Of one request: 2 where a model is evaluated with and without the prompt."""
    return max((len(value) for value in inputs.values() if value.ndim), default=1)


def of_rows(inputs: Inputs, which: slice) -> Inputs:
    """A request of these rows alone; what has no rows of its own belongs to all."""
    count = rows(inputs)
    return {name: value[which] if value.ndim and len(value) == count else value for name, value in inputs.items()}


def device_config(device: Device, reference: bool, *, pinned: bool = True) -> dict[str, Any]:
    """OpenVINO properties of these settings; what the settings leave to the plugin is left out.

    Not `pinned`, threads of a CPU may move between its cores: of processes side by side each would take the first ones.
    """
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if device.threads:
        config["INFERENCE_NUM_THREADS"] = device.threads
    if device.name == "CPU" and not pinned:
        config["ENABLE_CPU_PINNING"] = False
    if reference:
        return config | EXACT
    if device.inference_precision != "default":
        config["INFERENCE_PRECISION_HINT"] = device.inference_precision
    if device.dynamic_quantization_group_size >= 0:
        config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = device.dynamic_quantization_group_size
    return config


def effective_properties(compiled: ov.CompiledModel) -> dict[str, str]:
    """Every property of a compiled model as the plugin settled it, as text; defaults drift between hosts."""
    names = sorted(str(name) for name in compiled.get_property("SUPPORTED_PROPERTIES"))
    return {name: _text(compiled.get_property(name)) for name in names if name != "SUPPORTED_PROPERTIES"}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple | set):
        return ", ".join(map(_text, value))
    return str(value)


def way(path: Path) -> str:
    """What brings a part's file back; of one elsewhere than in artifacts/ir only its owner knows."""
    made = target(path)
    return remedy(path, made.strip()) if made else "it has to be made again"


def target(path: Path) -> str:
    """' export@vega' of artifacts/ir/vega/fp16/unet/openvino_model.xml; nothing for a file elsewhere."""
    parts = path.parts
    if len(parts) < 5 or parts[-5] != "ir":
        return ""
    return f" {'export' if parts[-3] == 'fp16' else 'quantize'}@{parts[-4]}"
