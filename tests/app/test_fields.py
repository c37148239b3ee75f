"""What the form holds and asks for, apart from any page: values, refusals, what is read back, prompts, the gallery."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from stages.app import drawing, fields, prompts, reproducing
from stages.app.gallery import LIMIT, Sessions
from stages.app.line import Line
from stages.studio.request import Refused, Request
from stages.studio.shelf import Item
from stages.studio.studio import Drawn, Progress, Stopped

ROOT = Path(__file__).parents[2]
HOW = {"num_inference_steps": 25, "guidance_scale": 5.0, "width": 64, "height": 64}


def item(model: str, precision: str, role: str = "base") -> Item:
    own = {"text-to-image": HOW, "image-to-image": HOW | {"strength": 0.6}}
    if role == "refiner":
        own = {"image-to-image": HOW | {"strength": 0.3}, "two-stage": HOW | {"base": "b", "high_noise_fraction": 0.8}}
    about = {"folder": Path(model, precision), "role": role, "base": "b" if role == "refiner" else None}
    about |= {"scheduler": "DDIMScheduler", "licence": None, "random_weights": False, "gb": 1.0, "facts": {}}
    return Item(model, precision, defaults=own, digest=f"{model} {precision}", **about)


SHELF = {"b": {name: item("b", name) for name in ("fp16", "int8")}, "r": {"fp16": item("r", "fp16", "refiner")}}


def values(**given):
    filled = fields.filled(SHELF, given.get("task", "text-to-image"), given.get("model"))
    return dict.fromkeys(fields.NAMES) | filled | {"prompt": "owl", "seed": "7", "new_seed": False} | given


def test_a_form_is_filled_with_the_model_s_own_values():
    assert fields.tasks(SHELF) == ["text-to-image", "image-to-image", "two-stage"]
    assert fields.models(SHELF, "two-stage") == ["r"] and fields.others(SHELF, "b", "int8") == ["nothing", "fp16"]
    filled = fields.filled(SHELF, "two-stage", "b")  # which cannot do it
    assert (filled["model"], filled["high_noise_fraction"], filled["steps"]) == ("r", 0.8, 25)


def test_two_precisions_are_asked_for_with_the_same_seed():
    one, other = fields.asked(SHELF, values(precision="int8", other="fp16"))
    assert (one.precision, other.precision) == ("fp16", "int8") and one.seed == other.seed == 7
    seeded = fields.with_seed(values(new_seed=True))
    assert fields.asked(SHELF, seeded)[0].seed == int(seeded["seed"]) < fields.SEEDS


def test_every_refused_field_is_told_at_once():
    wrong = values(task="image-to-image", prompt=" ", steps=2.5, width=65, guidance=-1, seed="9" * 30, strength=2)
    found = fields.refused(SHELF, wrong)
    assert set(found) == {"prompt", "steps", "width", "guidance", "seed", "strength", "start"}
    assert fields.refused(SHELF, values()) == {}


def test_what_went_meanwhile_is_refused_at_its_field():
    assert set(fields.refused(SHELF, values(model="gone"))) == {"model"}
    assert set(fields.refused(SHELF, values(other="int4"))) == {"other"}
    assert set(fields.refused({"r": SHELF["r"]}, values(model="r", task="two-stage", precision="fp16"))) == {"model"}


@pytest.mark.parametrize("name", ["steps", "prompt", "scheduler", "seed", "precision", "model", "task", "width"])
@pytest.mark.parametrize("value", [[1], {"a": 1}, float("inf"), "x" * 100_000, 10**400, None, True])
def test_a_file_that_lies_fills_nothing_that_a_field_cannot_hold(name, value, monkeypatch):
    found = {"model": "b", "precision": "int8", "task": "text-to-image", "ir": {"b": "b int8"}} | {name: value}
    monkeypatch.setattr(reproducing.metadata, "read", lambda path: found)
    filled, _ = reproducing.from_png(SHELF, "a.png")
    for key, entry in filled.items():
        assert isinstance(entry, bool | int | float) or len(entry) <= reproducing.LONGEST, key


def test_prompts_are_of_the_model_s_own_set():
    own, others = prompts.examples("mini-vega", ROOT), prompts.examples("somebody-s", ROOT)
    assert len(own) == len(others) == prompts.COUNT and "background" in " ".join(own)
    assert not set(own) & set(others)


@dataclass
class Slow:
    """A studio that draws until it is stopped, or as many steps as it is asked for."""

    stopped: threading.Event = field(default_factory=threading.Event)

    def draw(self, request, listen, stop):
        for step in range(request.steps):
            listen(Progress("step", step + 1, request.steps, Image.new("RGB", (8, 8)) if step == 0 else None))
            if request.steps > 100 and stop.wait(0.01):
                self.stopped.set()
                raise Stopped("stopped")
        if request.prompt == "fail":
            raise Refused("model", "too large")
        return drawn(request)


def request(**given) -> Request:
    own = {"model": "b", "precision": "int8", "task": "text-to-image", "prompt": "owl", "negative_prompt": ""}
    own |= {"steps": 3, "guidance": 5.0, "width": 64, "height": 64, "scheduler": "DDIMScheduler", "seed": 0}
    return Request(**own | given)


def drawn(asked: Request) -> Drawn:
    seconds = dict.fromkeys(("load", "text_encoders", "unet", "decode", "whole"), 0.1)
    return Drawn(Image.new("RGB", (64, 64)), asked, seconds, 900.0, {"b": "b int8"})


def test_leaving_a_drawing_stops_it():
    studio = Slow()
    going = drawing.drawn(studio, [request(steps=10_000)], threading.Event())
    next(going)
    going.close()
    assert studio.stopped.is_set()


def test_a_drawing_that_was_stopped_while_it_waited_is_not_begun():
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        next(drawing.drawn(None, [request()], stop))


def test_news_ends_with_the_picture_or_with_what_went_wrong():
    found = list(drawing.drawn(Slow(), [request(), request(seed=1)], threading.Event()))
    assert [number for number, news in found if isinstance(news, Drawn)] == [0, 1]
    with pytest.raises(Refused, match="too large"):
        list(drawing.drawn(Slow(), [request(prompt="fail")], threading.Event()))


def test_who_waits_is_told_how_many_are_before_and_keeps_the_order(monkeypatch):
    monkeypatch.setattr("stages.app.line.LONGEST", 1)
    monkeypatch.setattr("stages.app.line.LOOK_S", 0.01)
    line, stay, leave = Line(), threading.Event(), threading.Event()
    with line.place(stay) as first:
        assert list(first) == []
        with line.place(leave) as second:
            assert next(second) == 1
            with pytest.raises(ValueError, match="come back later"), line.place(stay):
                pass
            leave.set()
            assert list(second) == []
    with line.place(stay) as third:
        assert list(third) == []


def test_a_session_keeps_its_newest_pictures_and_leaves_none(tmp_path):
    sessions = Sessions(tmp_path)
    mine, other = sessions.of("a"), sessions.of("b")
    for seed in range(LIMIT + 3):
        mine.keep(drawn(request(seed=seed)))
    assert len(list(mine.folder.iterdir())) == len(mine.kept) == LIMIT and mine.kept[0].request.seed == LIMIT + 2
    assert sessions.of("a") is mine and other.folder != mine.folder
    sessions.end("a")
    assert not mine.folder.exists() and mine.stop.is_set() and sessions.of("a") is not mine


def test_a_browser_that_vanished_makes_room_but_not_one_that_draws(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.app.gallery.SESSIONS", 2)
    sessions = Sessions(tmp_path)
    drawing_, idle = sessions.of("a"), sessions.of("b")
    drawing_.drawing = True
    sessions.of("c")
    assert idle.stop.is_set() and sessions.of("a") is drawing_


def test_what_is_shown_is_escaped():
    from stages.app import easel

    kept = SimpleNamespace(path=Path("/tmp/a.png"), size=(64, 64), request=request(prompt="<script>x</script>"))
    kept.seconds, kept.memory_mb, kept.said = drawn(request()).seconds, 900.0, ("<b>",)
    shown = easel.finished([kept, kept]) + easel.going(kept.request, Progress("step", 1, 3))
    assert "<script>" not in shown and "<b>" not in shown and "&lt;script&gt;" in shown
