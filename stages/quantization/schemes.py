"""Quantization schemes: ways from a UNet in FP16 to a smaller and faster one, each a small function in SCHEMES.

Consumes the IR of a float UNet, recorded inputs where a scheme wants them, and the quantization settings; writes the
quantized IR. Half-finished work is kept in a folder that the caller gives. What a scheme is for stands in
conf/quantization. Measures nothing, knows no pipeline.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.checkpoints import lean
from stages.files import manifest, pieces, placing
from stages.ir import anatomy, runtime, saving, tracing
from stages.ir.anatomy import DECOMPRESSION
from stages.machine import apart, description
from stages.quantization import geglu, probing, promises, rounding, search, statistics, units

if TYPE_CHECKING:
    import openvino as ov

    from stages.settings.schema import Quantization, Search

UNET = "unet"
TABLE = "search.json"  # of a search's choices, beside the UNet
ROUNDED = "rounded"  # folder of new integers, among what is kept
ATTENTION = "ScaledDotProductAttention"
NARROW = 32  # values of a head at most: in INT8 with AMX, and as many keys, OpenVINO 2026.4.1 computes nonsense
SMALLEST_GROUP = 16  # weights that share a scale: below, scales take a quarter of what four bits save
Samples = Iterable[dict[str, Any]]  # UNet inputs by name; read more than once


# source.xml, target.xml, settings, inputs, folder for what is half finished
Scheme = Callable[[Path, Path, "Quantization", Samples, Path], None]


def quantize_unet(
    source: Path, target: Path, settings: Quantization, samples: Samples, kept: Path
) -> dict[str, float | None]:
    """Write the IR `target` (.xml, with its .bin beside it) quantized out of `source` in the way `settings` name.

    A run that finds in the folder `kept` what an equal run left there goes on from it. Raises ValueError if `source` is
    quantized already, if an ignored pattern or type names no operation, or if less is quantized than the scheme's name
    says. Returns how much is, see stages.quantization.promises.
    """
    settings = settled(settings)
    model = runtime.read(source)
    require_float(model, source)
    check_patterns(model, settings.ignored_patterns)
    check_types(model, settings.ignored_types)
    del model  # a scheme reads its own: memory is what the large ones lack
    target.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        SCHEMES[settings.scheme](source, target, settings, samples, kept)
    first = next(iter(samples), None)
    shapes = {name: value.shape for name, value in first.items()} if first else None
    return promises.require_kept(runtime.read(target), settings, shapes)


def settled(settings: Quantization) -> Quantization:
    """The settings with what `auto` comes to on this machine: IR made here is to be right here."""
    if settings.overflow_fix != "auto":
        return settings
    found = copy.copy(settings)
    found.overflow_fix = "always" if description.sums_overflow() else "never"
    return found


def weights_first(source: Path, target: Path, settings: Quantization, samples: Samples, kept: Path) -> None:
    """Weights to INT8, saved; then the activations of that small model: SDXL in 6 GB where one pass takes over 24."""
    quantized = kept / "quantized"
    if not pieces.is_there(quantized):
        with placing.whole(quantized) as partial:
            save(every_layer(source, settings, samples, kept), partial / "unet.xml")
        pieces.note(quantized)
    found = _searched(quantized / "unet.xml", source, settings.search, samples, kept) if settings.search else None
    if settings.rounding == "gptq":
        batches = probing.batches(samples, sum(macs(source, samples).values()))
        apart.run("rounding weights", _round, quantized / "unet.xml", source, kept, found, batches)
    model, before = runtime.read(quantized / "unet.xml"), runtime.read(source)
    if found:
        search.apply(model, before, statistics.channels(kept / statistics.RANGES), found)
        placing.write_text(target.with_name(TABLE), json.dumps(found, indent=1) + "\n")
    rounding.apply(model, kept / ROUNDED)
    geglu.split(model)
    save(model, target)


def every_layer(source: Path, settings: Quantization, samples: Samples, kept: Path) -> ov.Model:
    """The model with its weights in INT8 and a quantizer before every layer, in the plain range of what was seen."""
    weights = _weights_apart(source, settings, "weights", kept, half=settings.overflow_fix == "always")
    model = _quantize_activations(weights, settings, samples, kept=kept, original=source)
    units.once(model)
    return model


def weights_only(source: Path, target: Path, settings: Quantization, samples: Samples, kept: Path) -> None:
    """Weights alone, without data; the CPU plugin quantizes activations while it runs, unless told otherwise."""
    compress(source, target, UNET, settings, settings.ignored_types)


def hybrid(source: Path, target: Path, settings: Quantization, samples: Samples, kept: Path) -> None:
    """optimum-intel's way: weights of all but the convolutions, then weights and activations of the convolutions."""
    weights = _weights_apart(source, settings, "weights-but-convolutions", kept, ["Convolution"])
    matmuls = [f"^{re.escape(name)}$" for name in _weighted_matmuls(runtime.read(weights))]
    save(_quantize_activations(weights, settings, samples, matmuls, kept), target)


def notebook(source: Path, target: Path, settings: Quantization, samples: Samples, kept: Path) -> None:
    """The OpenVINO notebooks' way: weights and activations of the float model at once."""
    save(_quantize_activations(source, settings, samples), target)


def none(source: Path, target: Path, settings: Quantization, samples: Samples, kept: Path) -> None:
    """The FP16 IR as it is: compared with itself it shows what the measurement scatters."""
    for suffix in (".xml", ".bin"):
        placing.link(source.with_suffix(suffix), target.with_suffix(suffix))


SCHEMES: dict[str, Scheme] = {
    "weights_first": weights_first,
    "weights_only": weights_only,
    "hybrid": hybrid,
    "notebook": notebook,
    "none": none,
}


def _searched(quantized: Path, source: Path, settings: Search, samples: Samples, kept: Path) -> dict[str, Any]:
    """The table of a search, made by a process of its own unless it is there already."""
    file = kept / TABLE
    if not pieces.is_there(file):
        work = macs(source, samples)
        points, seen = probing.points(samples, sum(work.values()))
        how = quantized, source, kept, settings, points, seen, work
        try:
            found = apart.run("searching", search.search, *how)
        except (apart.Crashed, RuntimeError) as error:  # of OpenVINO, which compiles most stretches of most models
            print(f"{error}; the search goes on with the model in a piece, which takes longer", file=sys.stderr)
            found = apart.run("searching", search.search, *how, 1)
        placing.write_text(file, json.dumps(found))
        pieces.note(file)
    return json.loads(file.read_text(encoding="utf-8"))


def _round(
    quantized: Path, source: Path, kept: Path, found: dict[str, Any] | None, batches: list[dict[str, Any]]
) -> None:
    """Integers for the weights of all layers, or the loudest first that a search found, left in `kept`."""
    model, before, scales = runtime.read(quantized), runtime.read(source), {}
    every = {unit.name: unit for unit in units.find(model, {})}
    order = list(every)
    if found:
        order = search.loudest_first(found)
        scales = search.apply(model, before, statistics.channels(kept / statistics.RANGES), found)
    layers = [layer for name in order for layer in every[name].layers]
    rounding.work_out(model, units.named(before), scales, layers, batches, kept / ROUNDED)


def macs(source: Path, samples: Samples) -> dict[str, int]:
    """Multiply-accumulates by layer of one sample's forward."""
    sample = next(iter(samples))
    return anatomy.macs_by_layer(runtime.read(source), {name: value.shape for name, value in sample.items()})


def light_pipeline(source: Path, target: Path) -> Path:
    """The pipeline in `source` with its UNet's weights in INT8, all else linked, as `target`; kept if it is there."""
    if not pieces.is_there(target):
        with another_unet(source, target) as unet:
            apart.run("compressing weights", compress, source / unet.relative_to(unet.parents[1]), unet)
        pieces.note(target)
    return target


@contextlib.contextmanager
def another_unet(source: Path, target: Path) -> Iterator[Path]:
    """The pipeline in `source`, linked as `target` but for its UNet, whose `.xml` the block is to write."""
    with placing.whole(target) as folder:
        for name in manifest.read(source, rerun="export")["files"]:
            if not name.startswith("unet/openvino_model"):
                placing.link(source / name, folder / name)
        yield folder / "unet" / "openvino_model.xml"


def require_float(model: ov.Model, source: Path) -> None:
    """Quantizing twice would lose quality silently or fail obscurely."""
    counts = anatomy.count_operations(model)
    found = {name: counts[name] for name in ("fake_quantize", "int8_constants", "int4_constants") if counts[name]}
    if found:
        raise ValueError(
            f"{source} is quantized already ({', '.join(f'{count} {name}' for name, count in found.items())}): "
            "only an FP16 IR can be quantized, run 'dvc repro -f -s export' for this model"
        )


def check_patterns(model: ov.Model, patterns: list[str]) -> None:
    """Every pattern of quantization.ignored_patterns must match the beginning of some operation's name, as in NNCF."""
    names = [operation.get_friendly_name() for operation in model.get_ops()]
    for pattern in patterns:
        try:
            matches = any(re.match(pattern, name) for name in names)
        except re.error as error:
            raise ValueError(f"quantization.ignored_patterns: {pattern!r} is not a pattern: {error}") from error
        if not matches:
            heavy = [name for name in names if name.endswith(("/Convolution", "/MatMul"))]
            raise ValueError(
                f"quantization.ignored_patterns: {pattern!r} matches no operation; they are like {', '.join(heavy[:2])}"
            )


def check_types(model: ov.Model, types: list[str]) -> None:
    """Every type of quantization.ignored_types must be that of some operation."""
    present = {operation.get_type_name() for operation in model.get_ops()}
    for name in types:
        if name not in present:
            raise ValueError(
                f"quantization.ignored_types: no operation of type {name!r}; it has {', '.join(sorted(present))}"
            )


def ignored_types(model: ov.Model, settings: Quantization) -> list[str]:
    """Types of operations whose activations stay float, attention among them where it is asked for or not safe."""
    heads = [node for node in model.get_ops() if node.get_type_name() == ATTENTION]
    widths = [node.input_value(0).get_partial_shape()[-1] for node in heads]
    narrow = any(width.is_dynamic or width.get_length() <= NARROW for width in widths)
    stays = settings.attention == "float" or (settings.attention == "auto" and narrow)
    return [*settings.ignored_types, *([ATTENTION] if stays and ATTENTION not in settings.ignored_types else [])]


def _weights_apart(
    source: Path, settings: Quantization, name: str, kept: Path, types: list[str] | None = None, half: bool = False
) -> Path:
    """The IR with compressed weights in `kept`, made by a process of its own unless it is there already."""
    folder = kept / name
    if not pieces.is_there(folder):
        with placing.whole(folder) as partial:
            how = UNET, settings, types or [], half
            apart.run("compressing weights", compress, source, partial / "weights.xml", *how)
        pieces.note(folder)
    return folder / "weights.xml"


def compress(
    source: Path,
    target: Path,
    name: str = UNET,
    settings: Quantization | None = None,
    ignored_types: Sequence[str] = (),
    half: bool = False,
) -> None:
    """The weights of a part, which is called `name`; without settings all of them in INT8. `half`: in 7 bits."""
    with quiet() as nncf:
        mode = nncf.CompressWeightsMode[(settings and settings.weights or "int8_sym").upper()]
        grouped = _grouped(settings) if settings and mode.name.startswith("INT4") else {}
        patterns = list(settings.ignored_patterns) if settings else []
        ignored = nncf.IgnoredScope(patterns=patterns, types=list(ignored_types))
        model = nncf.compress_weights(runtime.read(source), mode=mode, ignored_scope=ignored, **grouped)
        if half:
            units.halve(model, units.named(runtime.read(source)))
        save(model, target, name)


def _grouped(settings: Quantization) -> dict[str, Any]:
    """Four bits in groups; where a layer's channels are no multiple of one, in the largest smaller group that fits, or
    in 8 bits where none does (NNCF's GroupSizeFallbackMode.ADJUST)."""
    from nncf.quantization import advanced_parameters as advanced

    grouped = {"ratio": settings.ratio, "group_size": settings.group_size}
    if settings.group_size < 0:  # a whole channel fits always
        return grouped
    mode, least = advanced.GroupSizeFallbackMode.ADJUST, min(SMALLEST_GROUP, settings.group_size)
    fallback = advanced.AdvancedCompressionParameters(group_size_fallback_mode=mode, min_adjusted_group_size=least)
    return grouped | {"advanced_parameters": fallback}


def _quantize_activations(
    source: Path,
    settings: Quantization,
    samples: Samples,
    ignored: Iterable[str] = (),
    kept: Path | None = None,
    original: Path | None = None,
) -> ov.Model:
    """NNCF's post-training quantization; weights that are compressed already stay as they are.

    With a folder for what is unfinished, ranges are collected there, leanly (of one row of each sample, convolutions
    with the weights of `original`, if given); without one, as NNCF does it.
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParameters, RangeEstimatorParametersSet

    model = runtime.read(source)
    own = {name for port in model.outputs for name in port.get_names()}
    off = nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
    ranges = getattr(RangeEstimatorParametersSet, settings.ranges.upper()) if settings.ranges else None
    advanced = nncf.AdvancedQuantizationParameters(
        overflow_fix=overflow_fix(settings.overflow_fix == "always"),
        disable_bias_correction=not settings.bias_correction,
        activations_range_estimator_params=ranges or RangeEstimatorParameters(),
        **({} if settings.smooth_quant else {"smooth_quant_alphas": off}),
    )
    before = runtime.read(original) if original else None
    known = statistics.known_of(samples)
    with statistics.lean(kept / statistics.RANGES, own, before, known) if kept else contextlib.nullcontext():
        return nncf.quantize(
            model,
            nncf.Dataset(statistics.OneRow(samples) if kept else samples),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=settings.samples,
            ignored_scope=nncf.IgnoredScope(
                patterns=[*settings.ignored_patterns, *ignored], types=ignored_types(model, settings)
            ),
            advanced_parameters=advanced,
        )


def overflow_fix(needed: bool) -> Any:
    """NNCF's word for weights in 7 bits, so that products summed in 16 bits fit."""
    import nncf

    return nncf.OverflowFix.ENABLE if needed else nncf.OverflowFix.DISABLE


def _weighted_matmuls(model: ov.Model) -> list[str]:
    """Matrix products with stored weights, unlike those of attention."""
    matmuls = [operation for operation in model.get_ops() if operation.get_type_name() == "MatMul"]
    weights = {one.get_friendly_name(): anatomy.behind(one.input_value(1).get_node(), DECOMPRESSION) for one in matmuls}
    return [name for name, node in weights.items() if node.get_type_name() == "Constant"]


def save(model: ov.Model, target: Path, name: str = UNET) -> None:
    """The IR of a part, which is called `name`: the same bytes of the same model."""
    tracing.settle_names(model, name)
    saving.save(model, target)


@contextlib.contextmanager
def quiet() -> Iterator[Any]:
    """NNCF without its log and its progress bars, which it prints to stdout; errors still come through.

    Where torch is not imported, it is not by NNCF either, which asks of every model whether it is one of torch's.
    """
    with lean.without("torch"), contextlib.redirect_stdout(io.StringIO()):
        import nncf

        nncf.set_log_level(logging.ERROR)
        yield nncf
