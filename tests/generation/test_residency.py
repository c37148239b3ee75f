"""Parts share the memory at hand: let go when another needs the room, back when called, with the same pictures."""

from __future__ import annotations

import numpy as np
import pytest

from stages.generation import drawing, pipelines, recording
from stages.generation.residency import Room, smallest_enough
from tests.tiny_ir import CPU, sampler, tiny_ir


class Part:
    """Like optimum's: compiles when it has no request."""

    def __init__(self) -> None:
        self.request, self.compiled, self.calls = None, 0, 0

    def compile(self) -> None:
        if self.request is None:
            self.compiled += 1
            self.request = self.call

    def call(self) -> int:
        self.calls += 1
        return self.calls


@pytest.fixture
def parts() -> dict[str, Part]:
    return {"unet": Part(), "vae": Part(), "text": Part()}


def use(part: Part) -> None:
    part.compile()
    part.request()


def held(parts: dict[str, Part]) -> list[str]:
    return [name for name, part in parts.items() if part.request is not None]


def test_everything_stays_while_there_is_room(parts: dict[str, Part]) -> None:
    room = Room(10.0)
    room.watch(parts, {"unet": 5.0, "vae": 1.0, "text": 2.0})
    for name in (*parts, *parts):
        use(parts[name])
    assert held(parts) == list(parts) and room.used_gb() == 8.0
    assert [part.compiled for part in parts.values()] == [1, 1, 1]


def test_the_smallest_that_makes_enough_room_goes(parts: dict[str, Part]) -> None:
    room = Room(7.0)
    room.watch(parts, {"unet": 5.0, "vae": 1.0, "text": 2.0})
    for name in parts:
        use(parts[name])
    assert held(parts) == ["unet", "text"], "letting the VAE go was enough"
    use(parts["vae"])
    assert held(parts) == ["unet", "vae"] and parts["unet"].compiled == 1


def test_a_part_larger_than_the_room_gets_it_alone(parts: dict[str, Part]) -> None:
    room = Room(3.0)
    room.watch(parts, {"unet": 5.0, "vae": 1.0, "text": 2.0})
    for name in ("text", "vae", "unet"):
        use(parts[name])
    assert held(parts) == ["unet"]
    room.clear()
    assert held(parts) == [] and room.used_gb() == 0


def test_where_no_single_part_is_enough_the_largest_goes_first() -> None:
    assert smallest_enough({"a": 1.0, "b": 3.0, "c": 2.0}, shortfall=4.0) == "b"
    assert smallest_enough({"a": 1.0, "b": 3.0, "c": 2.0}, shortfall=1.5) == "c"


def test_the_first_call_is_loading_and_the_clock_stands_still_meanwhile(
    parts: dict[str, Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("stages.generation.residency.time.perf_counter", lambda: now[0])
    unet = parts["unet"]
    call, compile = unet.call, unet.compile

    def takes(seconds: float, function):
        def run():
            now[0] += seconds
            return function()

        return run

    unet.call, unet.compile = takes(3.0, call), takes(20.0, compile)
    room = Room(10.0)
    room.watch({"unet": unet}, {"unet": 5.0})
    start = room.clock()
    use(unet)
    use(unet)
    assert room.loading_s == 23.0, "compiling and the first call"
    assert room.clock() - start == 6.0, "the two calls that were asked for"
    assert unet.calls == 3


@pytest.mark.parametrize("timed", [True, False])
def test_where_nothing_is_timed_no_call_is_made_twice_and_all_are_counted(parts: dict[str, Part], timed: bool) -> None:
    room = Room(10.0, timed=timed)
    room.watch(parts, {"unet": 5.0, "vae": 1.0, "text": 2.0})
    with room.untimed():
        use(parts["unet"])
    use(parts["unet"])
    use(parts["vae"])
    assert (parts["unet"].calls, parts["vae"].calls) == (2, 1 + timed), "what came in the meantime stays as it is"
    assert room.calls == {"unet": 2, "vae": 1}


def test_pictures_are_the_same_where_parts_take_turns() -> None:
    expected = drawing.generate(
        pipelines.load(tiny_ir("base"), "text-to-image", sampler(), CPU), "a red dog", sampler(), 7
    )
    room = Room(0.0)
    pipeline = pipelines.load(tiny_ir("base"), "text-to-image", sampler(), CPU, room=room)
    for _ in range(2):
        found = drawing.generate(pipeline, "a red dog", sampler(), 7)
        assert np.array_equal(np.asarray(found), np.asarray(expected))
    assert list(name for name, part in pipelines.parts(pipeline).items() if part.request is not None) == ["vae_decoder"]


def test_the_recorder_goes_on_with_a_unet_that_came_back() -> None:
    pipeline = pipelines.load(tiny_ir("base"), "text-to-image", sampler(), CPU, room=Room(0.0))
    with recording.recording(pipeline, lambda step: True) as samples:
        for seed in (7, 8):
            drawing.generate(pipeline, "a red dog", sampler(), seed)
    assert len(samples) == 2 * sampler().steps, "calls to load are not recorded"
    pipeline.unet.compile()
    assert not isinstance(pipeline.unet.request, recording._Listener)


def test_prompts_encoded_ahead_draw_what_the_texts_draw() -> None:
    pipeline = pipelines.load(tiny_ir("base"), "text-to-image", sampler(), CPU, room=Room(10.0))
    texts = ["a red dog", "a blue cat under a tree"]
    encoded = drawing.encode_ahead(pipeline, texts, sampler())
    for text, embeddings in zip(texts, encoded, strict=True):
        pictures = [drawing.generate(pipeline, prompt, sampler(), 7) for prompt in (text, embeddings)]
        assert np.array_equal(*map(np.asarray, pictures))


def test_prompts_encoded_ahead_draw_the_same_where_guidance_is_built_in() -> None:
    few = sampler("LCMScheduler", steps=2, guidance=8.0)
    pipeline = pipelines.load(tiny_ir("lcm"), "text-to-image", few, CPU)
    (encoded,) = drawing.encode_ahead(pipeline, ["a red dog"], few)
    pictures = [drawing.generate(pipeline, prompt, few, 7) for prompt in ("a red dog", encoded)]
    assert np.array_equal(*map(np.asarray, pictures))
