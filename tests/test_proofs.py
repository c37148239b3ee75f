"""The page of figures at true size: its tables come from the results, and the limit it speaks of is a limit."""

from __future__ import annotations

import copy
import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from proofs import __main__ as page
from proofs import cluster, layers, limit, scaling, steps
from stages.engines.engine import LOCAL
from stages.ir import runtime
from stages.measurement import tasks
from stages.prompts.sets import Prompt
from stages.settings.schema import Engine, Settings
from tests.tiny_ir import CPU, part, sampler, tiny_int8, tiny_ir

HOLD = "held = bytearray({mb}_000_000); held[::4096] = b'1' * len(held[::4096]); import time; time.sleep(0.6)"


def test_tables_are_put_between_their_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text("".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in page.TABLES))
    monkeypatch.setattr(page, "PAGES", {tmp_path / "page.md": page.TABLES})
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    ours, theirs = ({"seconds": s, "total_gb": t, "anonymous_gb": 1.0} for s, t in ((80.0, 4.0), (200.0, 20.0)))
    (tmp_path / "convert.json").write_text(json.dumps({"PocketXL": ours, "optimum-cli": theirs}))
    pairs = {name: {"quick": [1.0, 2.0, 9.0], "slow": [8.0, 8.0, 8.0]} for name in ("default", "f32", "torch")}
    models = {name: {"gop": 3000.0, "pairs": pairs} for name in ("synthetic-sdxl", "synthetic-vega")}
    (tmp_path / "steps.json").write_text(json.dumps({"peak_gops": {"int8": 3000.0}, "models": models}))
    times = {"int8": {"linear layers": 30.0, "norms": 10.0}, "fp16": {"linear layers": 90.0, "norms": 10.0}}
    (tmp_path / "layers.json").write_text(json.dumps({"milliseconds": times}))
    entry = {"prompts": 14, "evaluations": 1000, "samples": 112, "sqnr_db": 38.13, "sqnr_by_quarter": [33.9, None]}
    (tmp_path / "calibration.json").write_text(json.dumps({"mini-vega": {"default": entry, "a=1": entry}}))
    counts = {"all": [41, 42], "varying": [21, 22], "same": [20, 20], "own": [5, 14], "half_width": 0.0312}
    run = {"sittings": 5, "busy": 1, "set_aside": 0, "summary": counts}
    (tmp_path / "repeat.json").write_text(json.dumps({"mini-vega": run}))
    row = {
        "name": "exact",
        "precision": "fp16",
        "unet_rows": 50.0,
        "outer_rows": 0.0,
        "picture_s": {"median": 8.0, "n": 3},
    }
    row |= {"speed": {"ratio": 1.0, "low": 1.0, "high": 1.0}, "verdict": "not judged", "reason": ""}
    row |= dict.fromkeys(("psnr_db", "ssim", "clip_score", "clip_drop_percent"))
    fast = row | {"name": "fast", "precision": "int8", "unet_rows": 4.0, "picture_s": {"median": 0.1, "n": 3}}
    entries = {"synthetic-sdxl": True, "synthetic-vegart": True, "mini-vega": False}
    speeds = {name: {"random_weights": random, "rows": [row, fast]} for name, random in entries.items()}
    held = {"precision": "int8", "held_mb": [800.0] * 99 + [816.0], "growth_percent": 2.0}
    held |= {"page_s": 3.5, "first_picture_s": 12.0, "first_picture_cpu_s": 14.0}
    (tmp_path / "app.json").write_text(json.dumps({"mini-vega": held}))
    (tmp_path / "speed.json").write_text(json.dumps(speeds))
    page.main()
    text = (tmp_path / "page.md").read_text()
    assert "| mini-vega | default | 14 | 1,000 | 112 | 38.1 dB | 33.9 |" in text and "|  | `a=1` | 14 |" in text
    assert "| mini-vega | 5 + 1 | 1 | **41 of 42** | 21 of 22 | ±3.1 % | 5 of 14 |" in text
    assert "| mini-vega int8 | 3.5 s | 12.0 s | 14.0 s | 800 MB | 816 MB | +2.0 % |" in text
    assert "| ratio | 0.40 | 0.20 |  |" in text
    assert (
        "| sdxl | 3.00 | 2.00 s | 8.00 s | **4.00×** | 2.00 s | 8.00 s | **4.00×** | 8.00 s | **4.00×** | 1500 | 0.50 |"
        in text
    )
    assert "| vega | 2× | 1.00× | 1.00× | 1.00× | 1.00× |" in text
    assert "| linear layers | 30 ms | 75 % | 90 ms | 3.00× |" in text
    assert "| all | 40 ms | 100 % | 100 ms | 2.50× |" in text
    assert "| vegart int8 fast | 4.00 | 100 ms | 1.00× (1.00–1.00) | **80.0×** |" in text
    assert "| mini-vega fp16 exact | 50.0 | 8.00 s |" in text and "| sdxl fp16 exact | 50.0 | 8.00 s |" in text
    assert text.count("old") == 5, "tables without results stay as they are"


def test_time_is_added_up_by_kind_of_layer() -> None:
    times = {"FullyConnected": 3, "LLMMLP": 4, "Convolution": 5, "Reorder": 6, "Transpose": 1, "Gather": 2, "New": 1}
    found = layers.by_kind((name, timedelta(milliseconds=value)) for name, value in times.items())
    assert found == {"linear layers": 7, "convolutions": 5, "moving data": 7, "element by element": 3}


def test_a_step_is_profiled_layer_by_layer() -> None:
    inputs = steps.random_inputs(runtime.read(tiny_ir("base") / "unet/openvino_model.xml"))
    found = layers.measure(tiny_int8("base"), inputs)
    assert found["convolutions"] > 0 and found["linear layers"] > 0 and found["norms"] > 0


@pytest.mark.parametrize("path", page.PAGES, ids=str)
def test_a_page_in_the_repository_has_all_marks(path: Path) -> None:
    text = path.read_text()
    for name in page.PAGES[path]:
        assert text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1


def test_a_command_within_its_limit_is_measured() -> None:
    found = limit.run(2.0, [sys.executable, "-c", HOLD.format(mb=200)])
    assert found["status"] == 0 and not found["killed"]
    assert 0.2 < found["anonymous_gb"] < 0.3


def test_a_command_beyond_its_limit_fails() -> None:
    found = limit.run(0.3, [sys.executable, "-c", HOLD.format(mb=600)])
    assert found["status"] != 0
    assert found["killed"] or found["limited_by"] == "RLIMIT_DATA"


def test_schemes_stand_beside_each_other_by_their_noise() -> None:
    row = {"sqnr_db": 35.36, "sqnr_worst_quarter_db": 29.9, "psnr_db": 41.0, "clip_score": 94.2, "clip_similarity": 1.0}
    found = {"mini-vega": {name: row | {"share_macs_int8": 0.91} for name in ("fp16", "int8")}}
    found["mini-vega"]["fp16"] = row | {"clip_score": 94.4}
    head, line = page.int8(found)
    assert dict(zip(head, line, strict=True)) == {
        "SQNR, dB": "mini-vega", "int8-notebook": "–", "int8-hybrid": "–", "int8-weights": "–", "int8-quick": "–",
        "int8": "**35.4**", "worst quarter": "29.9", "PSNR": "41.0 dB", "CLIP score lost": "0.21 %",
        "CLIP similarity": "1.0000", "MACs in INT8": "91 %",
    }  # fmt: skip


def test_outliers_stand_beside_weights_alone() -> None:
    found = {"mini-vega": {"weights": 35.61, "plain": 9.2, "search": 34.48}}
    assert page.outliers(found)[1:] == [["mini-vega", "35.6", "9.2", "34.5"]]


def test_ways_are_compared_with_the_first_one() -> None:
    times = {"plain": [1.0, 2.0, 3.0], "int8": [1.0, 1.0, 9.0]}
    found = {"synthetic-vega": {"openvino": times, "openvino-vnni": times}, "load": 0.1}
    assert page.ways(found)[1:] == [
        ["synthetic-vega plain", "2.000 s", "2.000 s", "1.000", "1.000"],
        ["synthetic-vega int8", "1.000 s", "1.000 s", "0.500", "0.500"],
    ]


def test_what_a_cluster_adds_is_told_kind_by_kind() -> None:
    one = {"same": True, "bound": {"item_s": 0.657}, "many": {"workers": 2}, "unbound": 0.051, "overhead": 0.117}
    one |= {"processor": -0.004, "way": 0.012, "scaling": 1.98}
    found = {"mini-sdxl": {"pictures": one, "drafts": one | {"same": False}}}
    head, first, second = page.cluster(found)
    assert first == ["mini-sdxl pictures", "657 ms", "+5.1 %", "+11.7 %", "-0.4 %", "1.2 %", "2: 1.98×", "yes"]
    assert second[-1] == "**no**" and len(head) == len(first)


def test_overhead_is_against_the_loop_as_stages_run_it() -> None:
    loop, free, many = {"item_s": 1.0, "cpu_s": 1.0}, {"item_s": 1.02}, {"item_s": 0.52}
    found = cluster.compared(loop, free, {"item_s": 1.05, "inside_s": 1.04, "cpu_s": 1.01}, many)
    assert found == {"overhead": 0.05, "processor": 0.01, "unbound": 0.02, "way": 0.0095, "scaling": 2.019}


def test_a_loops_items_are_timed_where_they_are_done_and_hashed_by_content() -> None:
    device = copy.copy(CPU)
    device.threads = 1
    work = cluster.Pictures(tiny_ir("base"), sampler(), device, 4.0)
    jobs = [tasks.Job("text-to-image", Prompt("p", "red"), n, None, {}) for n in range(3)]
    bound, free = (cluster.measure(LOCAL, cluster.Timed(work, pinned=pinned), jobs, 1) for pinned in (True, False))
    assert bound["made"] == free["made"]
    assert 0 < bound["inside_s"] <= bound["item_s"] < bound["loading_s"] and bound["cpu_s"] > 0
    other = cluster.measure(LOCAL, cluster.Timed(work, pinned=True), jobs[::-1], 1)
    assert other["made"] != bound["made"], "order counts"


def test_all_ways_are_held_against_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a loop in the place of the cluster: tests/cluster has the real one."""
    moments = {"loading_s": 2.0, "item_s": 1.0, "inside_s": 0.9, "cpu_s": 0.8}
    asked: list[tuple[bool, int]] = []

    def measure(engine, work, items, workers):
        asked.append((work.pinned, workers))
        return {"workers": workers, **moments, "made": "other" if workers == 3 else "same"}

    monkeypatch.setattr(cluster.engines, "chosen", lambda _: LOCAL)
    monkeypatch.setattr(cluster, "measure", measure)
    work = cluster.Pictures(tiny_ir("base"), sampler(), CPU, 4.0)
    engine = part(Engine, name="ray", workers=None)
    assert cluster.all_ways(part(Settings, engine=engine), work, [], 2)["same"]
    assert asked == [(True, 1), (False, 1), (False, 1), (False, 2)]
    assert not cluster.all_ways(part(Settings, engine=engine), work, [], 3)["same"]


def test_a_map_on_paper_is_as_computed_by_hand() -> None:
    start, compiling = scaling.costs()["process_s"], scaling.costs()["load_s"]
    assert scaling.wall_s(10.0, 100, 1, 5.0, 2.0) == start + 2 * compiling + 1000.0
    # 5 GB over 1.25 GB/s to nine nodes; ten pictures each, and one that somebody holds while the others have none
    assert scaling.wall_s(10.0, 100, 10, 5.0, 2.0) == 36.0 + start + 2 * compiling + 100.0 + 10.0


def test_a_picture_on_paper_is_steps_and_decoding_at_measured_rates() -> None:
    pairs = {"default": {"openvino int8": [0.5], "openvino fp16": [1.0]}, "f32": {"openvino-f32 fp16": [4.0]}}
    models = {f"synthetic-{name}": {"gop": 1000.0, "pairs": pairs} for name in set(scaling.MEASURED.values())}
    one = scaling.System("sdxl", 20, 0, 2, 1024**2)
    step_gop, decode_gop = 2 * 2 * 3380.6, 2 * scaling.costs()["vae_gmacs"] * 1024**2 / 1e6  # rows and multiply-adds
    for precision, gops in (("fp16", 1000), ("int8", 2000), ("f32", 250)):
        decode = decode_gop / (250 if precision == "f32" else 1000)
        assert scaling.picture_s(one, precision, {"models": models}) == pytest.approx(20 * step_gop / gops + decode)
    assert scaling.system("sdxl-refiner").before == 20 and scaling.system("vegart").rows == 1
