"""The studio: pictures in turn, stopped between steps, models let go where memory is short."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from stages.studio import preview, shelf
from stages.studio import request as requests
from stages.studio.request import Refused
from stages.studio.studio import Progress, Studio
from tests.studio.stopping import stopped
from tests.tiny_ir import CPU, tiny_int8, tiny_ir, tiny_root


@pytest.fixture(scope="module")
def studio() -> Studio:
    tiny_int8("base"), tiny_ir("refiner")
    return Studio(CPU, tiny_root())


def ask(model: str = "base", precision: str = "fp16", **given):
    return requests.make(shelf.find(tiny_root())[model][precision], **{"prompt": "a red cat", "steps": 4} | given)


def test_progress_tells_every_part_and_step_and_shows_the_picture_on_its_way(studio: Studio) -> None:
    seen: list[Progress] = []
    drawn = studio.draw(ask(), seen.append)
    assert list(dict.fromkeys(one.part for one in seen)) == ["load", "text", "step", "decode"]
    assert [one.step for one in seen if one.part == "step"] == [0, 1, 2, 3, 4]
    assert {one.steps for one in seen} == {4}
    assert any(one.preview is not None and one.preview.size == drawn.picture.size for one in seen)
    parts = [drawn.seconds[name] for name in ("load", "text_encoders", "unet", "decode")]
    assert min(parts) >= 0 and sum(parts) == pytest.approx(drawn.seconds["whole"], rel=0.2)
    assert drawn.memory_mb > 50 and drawn.ir == {"base": shelf.find(tiny_root())["base"]["fp16"].digest}


def test_listening_changes_nothing(studio: Studio) -> None:
    assert studio.draw(ask(seed=4), lambda _: None).picture.tobytes() == studio.draw(ask(seed=4)).picture.tobytes()


def test_a_picture_is_stopped_between_steps_and_the_next_one_is_whole(studio: Studio) -> None:
    whole = studio.draw(ask(seed=9))
    assert max(stopped(studio, ask(seed=9))) == 2
    assert studio.draw(ask(seed=9)).picture.tobytes() == whole.picture.tobytes()


def test_two_who_ask_at_once_get_what_each_would_get_alone(studio: Studio) -> None:
    alone = [studio.draw(ask(seed=seed)).picture.tobytes() for seed in (1, 2)]
    found: dict[int, bytes] = {}

    def draw(seed: int) -> None:
        found[seed] = studio.draw(ask(seed=seed)).picture.tobytes()

    both = [threading.Thread(target=draw, args=(seed,)) for seed in (1, 2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [found[1], found[2]] == alone


def test_another_scheduler_draws_another_picture_and_the_models_own_comes_back(studio: Studio) -> None:
    own = studio.draw(ask()).picture.tobytes()
    other = studio.draw(ask(scheduler="DPMSolverMultistepScheduler")).picture.tobytes()
    assert other != own and studio.draw(ask()).picture.tobytes() == own


def test_the_longest_unused_model_goes_where_memory_holds_no_more() -> None:
    from stages.ir import anatomy
    from stages.machine import memory, sizes

    folder = tiny_ir("base")
    parts = memory.parts_gb(sizes.of_ir(folder), memory.request(ask().sampler(), CPU), anatomy.stored(folder))
    studio = Studio(CPU, tiny_root(), limit_gb=1.5 * sum(parts.values()))
    first = studio.draw(ask())
    studio.draw(ask(precision="int8"))
    assert studio.loaded() == [shelf.find(tiny_root())["base"]["int8"].digest]
    assert studio.draw(ask()).picture.tobytes() == first.picture.tobytes()


def test_what_this_machine_cannot_hold_is_refused_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from stages.machine import memory

    monkeypatch.setattr(memory, "room_gb", lambda: 0.0)
    monkeypatch.setattr(memory, "in_turn_gb", lambda *_: 11.4)
    with pytest.raises(Refused, match="base fp16 at .* needs 11.4 GB of memory, 0.0 can be had") as refused:
        Studio(CPU, tiny_root()).draw(ask())
    assert refused.value.field == "model"


def test_what_the_text_encoders_do_not_read_is_said(studio: Studio) -> None:
    long = " ".join(["cat"] * 200) + " zebra"
    said = studio.draw(ask(prompt=long, negative_prompt=long, steps=1)).said
    assert len(said) == 2 and all("zebra" in one and "was not read" in one for one in said)
    assert said[0].startswith("of the prompt") and said[1].startswith("of the negative prompt")
    assert studio.draw(ask(prompt="cat", negative_prompt=long, guidance=1.0, steps=1)).said == ()


def test_previews_are_small_and_rare() -> None:
    assert preview.smaller(torch.zeros(1, 4, 128, 96)).shape == (1, 4, 32, 24)
    assert preview.smaller(torch.zeros(1, 4, 16, 2)).shape == (1, 4, 16, 2)
    ticks = iter([0.0, 1.0, 1.3, 1.4, 2.0, 4.0, 4.1])  # one made in 0.3 s; too soon at 1.4; at 2.0 few enough

    class Pipeline:
        pass

    drawn = []
    previews = preview.Previews(Pipeline(), lambda: next(ticks))
    original, preview.draw = preview.draw, lambda *_: drawn.append(1) or "picture"
    try:
        assert [previews(None) for _ in range(4)] == ["picture", None, "picture", None]
    finally:
        preview.draw = original


def test_a_folder_that_is_not_whole_is_not_on_the_shelf(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_ir("base"), tmp_path / "artifacts/ir/base/fp16")
    assert list(shelf.find(tmp_path)) == ["base"]
    (tmp_path / "artifacts/ir/base/fp16/unet/openvino_model.bin").unlink()
    assert shelf.find(tmp_path) == {}
