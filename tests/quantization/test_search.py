"""The search: what it chooses, what it keeps of its work, and that outliers do not spoil it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from proofs import outliers
from stages.ir import anatomy, runtime
from stages.measurement import fidelity
from stages.quantization import schemes, search
from stages.quantization.units import Unit
from stages.settings import composing
from tests.tiny_ir import tiny_ir

NOISE = {  # of each unit's ways, in relation to the signal, the same in both quarters
    "a": {"int8": 1e-3, "smooth": 9e-4, "dynamic": 8e-4},
    "b": {"int8": 4e-4, "smooth": 1e-4, "clipped": 2e-4},
    "c": {"int8": 2e-4, "clipped": 1.9e-4},
    "d": {"int8": 1e-8},
}
MACS = {"a": 200_000, "b": 800_000, "c": 2_000_000, "d": 2_000_000}


class FakeProbe:
    """Noises that add up, for rows that name unit and way by a number."""

    def __init__(self) -> None:
        self.off, self.asked = np.zeros((len(NOISE), 1)), 0

    def noise(self, rows: np.ndarray) -> np.ndarray:
        self.asked += 1
        total = 0.0
        for (row,), ways in zip(rows, NOISE.values(), strict=True):
            total += list(ways.values())[int(row) - 1] if row else 0.0
        return np.array([total, total])


def subject() -> search.Subject:
    ways = [{way: np.array([place + 1.0]) for place, way in enumerate(ways)} for ways in NOISE.values()]
    units = [Unit((f"q{name}",), (name,), MACS[name], "MatMul") for name in NOISE]
    return search.Subject(units, ways, {}, 50_000_000)


def settings(min_sqnr_db: float = 36, max_float_share: float = 0.05, minutes: float = 1) -> SimpleNamespace:
    return SimpleNamespace(min_sqnr_db=min_sqnr_db, max_float_share=max_float_share, minutes=minutes)


def answers(folder: Path, seconds: float = float("inf")) -> search.Answers:
    return search.Answers(folder / "answers.jsonl", FakeProbe(), seconds)


def choices(found: dict) -> dict[str, str]:
    return {row["unit"]: row["choice"] for row in found["units"]}


def test_float_goes_to_what_gains_most_for_its_work_and_the_best_way_to_the_others(tmp_path: Path) -> None:
    """Allowed: 10^-3.6, 2.5e-4. `a` is loud and small; `b` is best scaled; `c` gains too little by a narrower range."""
    found = search.choose(subject(), answers(tmp_path), settings(min_sqnr_db=35))
    assert choices(found) == {"a": "float", "b": "smooth", "c": "int8", "d": "int8"}
    assert (found["float_share"], found["twice_share"]) == (0.004, 0)
    assert found["before_sqnr_db"] == pytest.approx(-10 * np.log10(1.6e-3), abs=0.01)
    assert found["sqnr_db"] == pytest.approx(-10 * np.log10(3e-4), abs=0.01)


def test_a_narrower_range_is_tried_where_no_scale_helps(tmp_path: Path) -> None:
    """`a`'s scales gain nothing that is worth them, and it has no narrower range; `b`'s does, `c` has none."""
    asked = answers(tmp_path)
    search.choose(subject(), asked, settings())
    assert {"b:smooth", "c:clipped"} <= set(asked.known) and "b:clipped" not in asked.known


def test_no_more_work_is_left_float_than_allowed(tmp_path: Path) -> None:
    found = search.choose(subject(), answers(tmp_path), settings(min_sqnr_db=60, max_float_share=0.003))
    assert not {"float", "twice"} & set(choices(found).values()) and found["float_share"] == 0
    assert found["sqnr_db"] < found["asked_sqnr_db"], "said in the table"


def test_a_large_layer_is_computed_twice_for_a_third_of_what_float_costs(tmp_path: Path) -> None:
    """0.004 for `a`, a third of 0.016 for `b`, of 0.04 for `c`; `d` makes too little noise to be looked into."""
    found = search.choose(subject(), answers(tmp_path), settings(min_sqnr_db=60, max_float_share=0.023))
    assert choices(found) == {"a": "float", "b": "twice", "c": "twice", "d": "int8"}
    assert (found["float_share"], found["twice_share"]) == (0.004, 0.056)


def test_enough_is_enough(tmp_path: Path) -> None:
    found = search.choose(subject(), answers(tmp_path), settings(min_sqnr_db=20))
    assert set(choices(found).values()) <= {"int8", "smooth"}


def test_answers_are_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    first = answers(tmp_path)
    found = search.choose(subject(), first, settings())
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('["torn line", [0.')
    again = answers(tmp_path)
    assert search.choose(subject(), again, settings()) == found
    assert (first.probe.asked > 4, again.probe.asked) == (True, 0)


def test_when_its_time_is_up_it_chooses_with_what_it_knows_and_says_so(tmp_path: Path) -> None:
    search.choose(subject(), answers(tmp_path), settings())
    lines = (tmp_path / "answers.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "answers.jsonl").write_text("".join(lines[:4]))
    found = search.choose(subject(), answers(tmp_path, seconds=0.0), settings())
    assert found["questions_left_out"] > 0
    assert len(found["units"]) == len(NOISE)
    assert found["sqnr_db"] is not None, "what was chosen is measured all the same"


def test_a_narrower_range_must_be_better_in_every_quarter() -> None:
    plain = np.array([4.0, 4.0])
    assert search.best({"int8": plain, "clipped": np.array([1.0, 1.0])}, pointwise=True) == "clipped"
    assert search.best({"int8": plain, "clipped": np.array([0.1, 4.1])}, pointwise=True) == "int8"
    assert search.best({"int8": plain, "smooth": np.array([0.1, 5.0])}, pointwise=True) == "smooth"
    ways = {"int8": plain, "smooth": np.array([1.0, 1.0]), "dynamic": np.array([0.6, 0.6])}
    assert search.best(ways, pointwise=True) == "smooth"


def test_a_range_found_at_run_time_must_gain_more_where_every_position_has_its_own() -> None:
    ways = {"int8": np.array([4.0, 4.0]), "smooth": np.array([1.0, 1.0]), "dynamic": np.array([0.7, 0.7])}
    assert (search.best(ways, pointwise=True), search.best(ways, pointwise=False)) == ("smooth", "dynamic")


def test_with_its_scale_every_channel_reaches_an_end_of_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "EVEN", 1.0)
    low, high = np.array([-16.0, -0.25, 0.0, 0.0]), np.array([4.0, 1.0, 0.0, 0.5])
    seen = search.statistics.Channels(low, high, -1.0, 1.0)
    scale = search.smoothing(seen, [np.array([[1.0, 1.0, 5.0, 1.0], [-1.0, 0.5, 5.0, 1.0]])])
    assert scale[2] == 1.0, "a channel that is always zero"
    used = [0, 1, 3]
    below, above = (low[used] / scale[used]).min(), (high[used] / scale[used]).max()
    reached = np.maximum(low[used] / scale[used] / below, high[used] / scale[used] / above)
    np.testing.assert_allclose(reached, 1, rtol=1e-3)


def test_how_much_of_a_range_is_negative_makes_the_least_noise() -> None:
    """Behind a SiLU all channels go down to -0.28: no quiet one may make that the half of the range."""
    seen = search.statistics.Channels(np.full(3, -0.28), np.array([8.0, 2.0, 1.0]), -0.28, 8.0)
    weights = np.array([[1.0, 2.0, 0.1]])
    scale = search.smoothing(seen, [weights])
    noise = [
        float((weights**2 * one**2).sum()) * ((seen.high / one).max() - (seen.low / one).min()) ** 2
        for one in (scale, np.array([8.0, 2.0, 1.0]), np.ones(3))
    ]
    assert noise[0] < min(noise[1:])


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_range_on_one_side_of_zero_has_scales_too(sign: int) -> None:
    ends = np.array([sign * 4.0, sign * 1.0])
    seen = search.statistics.Channels(np.minimum(ends, 0), np.maximum(ends, 0), 0.0, 0.0)
    scale = search.smoothing(seen, [np.array([[1.0, 0.0]])])
    assert scale[0] / scale[1] == pytest.approx(4**search.EVEN, rel=1e-3)


# On a real graph: the tiny UNet that other tests draw with, with outliers.


def inputs(source: Path, count: int = 8) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(3)
    made = []
    for number in range(count):
        one = {}
        for port in runtime.read(source).inputs:
            sides = [side.get_length() if side.is_static else 8 for side in port.get_partial_shape()]
            one[port.any_name] = random.standard_normal([2, *sides[1:]]).astype(np.float32)
        one["timestep"] = np.array(999.0 * number / (count - 1), np.float32)
        made.append(one)
    return made


@pytest.fixture(scope="module")
def outlying(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, np.ndarray]]]:
    folder = tmp_path_factory.mktemp("outliers")
    source = tiny_ir("base") / "unet/openvino_model.xml"
    outliers.give(source, folder / "m/m.xml")
    return folder / "m/m.xml", [outliers.given(one) for one in inputs(source)]


def quantization(*overrides: str):
    return composing.composed(("quantization",), ["quantization.samples=8", *overrides]).quantization


def test_outliers_are_an_exact_rewriting(outlying) -> None:
    source = tiny_ir("base") / "unet/openvino_model.xml"
    found = fidelity.pooled_sqnr_db(outliers.predictions(source, inputs(source)), outliers.predictions(*outlying))
    assert found is None or found > 90


def test_the_search_holds_where_plain_ranges_fail(outlying, tmp_path: Path) -> None:
    source, samples = outlying
    expected, found = outliers.predictions(source, samples), {}
    for name, override in (
        ("plain", "quantization.search=null"),
        ("search", "quantization.search.max_float_share=0.2"),
    ):
        schemes.quantize_unet(source, tmp_path / name / "m.xml", quantization(override), samples, tmp_path / f"k{name}")
        found[name] = fidelity.pooled_sqnr_db(expected, outliers.predictions(tmp_path / name / "m.xml", samples))
    assert found["search"] > found["plain"] + 6, found
    table = json.loads((tmp_path / "search/search.json").read_text())
    assert table["sqnr_db"] > table["before_sqnr_db"]
    assert {"smooth", "dynamic"} & {row["choice"] for row in table["units"]}
    counts = anatomy.count_operations(runtime.read(tmp_path / "search/m.xml"))
    assert counts["fake_quantize"] > 0 and counts["int8_constants"] > 0


KILLED = """
    import os, signal
    from pathlib import Path
    from stages.quantization import schemes, search
    from tests.quantization.test_search import inputs, quantization
    from tests.tiny_ir import tiny_ir

    class Mortal(search.Answers):
        def noise(self, question, rows, share=1.0):
            if len(self.known) == {at}:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().noise(question, rows, share)

    if __name__ == "__main__":
        search.Answers = Mortal
        schemes.apart.run = lambda what, function, *arguments: function(*arguments)
        source, root = Path({source!r}), Path({root!r})
        schemes.quantize_unet(source, root / "killed/m.xml", quantization(), inputs(source), root / "kept")
"""


def test_a_killed_search_goes_on_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    source = tiny_ir("base") / "unet/openvino_model.xml"
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED.format(at=7, source=str(source), root=str(tmp_path))))
    done = subprocess.run([sys.executable, script], env=os.environ | {"PYTHONPATH": "."}, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = (tmp_path / "kept/answers.jsonl").read_text()
    assert len(kept.splitlines()) == 7 and not (tmp_path / "killed/m.xml").exists()
    schemes.quantize_unet(source, tmp_path / "resumed/m.xml", quantization(), inputs(source), tmp_path / "kept")
    assert (tmp_path / "kept/answers.jsonl").read_text().startswith(kept)
    schemes.quantize_unet(source, tmp_path / "whole/m.xml", quantization(), inputs(source), tmp_path / "other")
    for name in ("m.xml", "m.bin", "search.json"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
