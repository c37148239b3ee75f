"""The studio in a process of its own: it draws what the studio draws, and its death costs one picture."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.machine.apart import Ended
from stages.studio import separate
from stages.studio.request import Refused
from stages.studio.separate import SeparateStudio
from stages.studio.studio import Progress, Stopped
from tests.studio.stopping import stopped

ROOT = Path(__file__).parents[2]


class Sketcher:
    """Draws nothing, step by step, and says which process it is."""

    def draw(self, request, tell, stop):
        for step in range(request.steps):
            tell(Progress("step", step, request.steps))
            if stop.is_set():
                raise Stopped("stopped")
            time.sleep(0.01)
        return os.getpid()


def sketcher(device, root, limit_gb) -> Sketcher:
    if device == "none":
        raise ImportError("No module named 'torch'")
    while device == "slow" and not (root / "go").exists():
        time.sleep(0.01)
    return Sketcher()


def asked(steps: int = 1) -> SimpleNamespace:
    return SimpleNamespace(steps=steps)


@pytest.fixture
def sketching(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator:
    """`sketching(device)` is a separate studio that only sketches."""
    monkeypatch.setattr(separate, "studio", sketcher)
    made: list[SeparateStudio] = []

    def make(device: str = "cpu") -> SeparateStudio:
        made.append(SeparateStudio(device, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.end()


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def soon(what) -> bool:
    end = time.monotonic() + 20
    while not what() and time.monotonic() < end:
        time.sleep(0.01)
    return what()


def test_a_process_killed_while_it_draws_costs_its_picture_and_the_next_is_of_a_new_one(sketching) -> None:
    studio, seen = sketching(), []
    first = studio.draw(asked())
    assert first == studio.draw(asked()) == studio.pid() != os.getpid()

    def kill(progress: Progress) -> None:
        seen.append(progress.step)
        if progress.step == 3:
            os.kill(first, signal.SIGKILL)

    with pytest.raises(Ended) as lost:
        studio.draw(asked(100_000), kill)
    said = str(lost.value)
    assert said.startswith("the picture is lost: its process was killed (SIGKILL)") and "draw it again" in said
    assert "\n" not in said and max(seen) < 100
    second = studio.draw(asked())
    assert second == studio.pid() != first and not is_there(first)


def test_a_process_killed_between_pictures_costs_none(sketching) -> None:
    studio = sketching()
    first = studio.draw(asked())
    os.kill(first, signal.SIGKILL)
    assert soon(lambda: not studio._made.result().is_alive())  # all its threads, not the first alone
    assert studio.draw(asked()) != first


def test_a_process_lives_on_when_the_thread_that_renewed_it_has_ended(sketching) -> None:
    """The kernel counts the thread that started it as its parent."""
    studio, seen = sketching(), []
    first = studio.draw(asked())
    os.kill(first, signal.SIGKILL)
    assert soon(lambda: not studio._made.result().is_alive())  # all its threads, not the first alone
    thread = threading.Thread(target=lambda: seen.append(studio.draw(asked())))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert studio.draw(asked()) == seen[0]


def test_who_waits_for_libraries_is_told_and_may_leave_and_the_process_goes_on(sketching, tmp_path: Path) -> None:
    studio, stop, seen = sketching("slow"), threading.Event(), []

    def tell(progress: Progress) -> None:
        seen.append((progress.part, progress.steps))
        stop.set()

    with pytest.raises(Stopped):
        studio.draw(asked(7), tell, stop)
    assert seen == [("libraries", 7)]
    waiting = studio.pid()
    (tmp_path / "go").touch()
    assert studio.draw(asked()) == waiting


def test_a_process_killed_while_it_imports_is_told_and_replaced(sketching, tmp_path: Path) -> None:
    studio = sketching("slow")
    with pytest.raises(Ended, match="was killed"):
        studio.draw(asked(), lambda _: os.kill(studio.pid(), signal.SIGKILL))
    (tmp_path / "go").touch()
    assert studio.draw(asked()) == studio.pid()


def test_libraries_that_are_not_there_are_told_to_each_who_asks(sketching) -> None:
    studio = sketching("none")
    for _ in range(2):
        with pytest.raises(Ended, match="No module named 'torch'"):
            studio.draw(asked())


def test_its_end_ends_a_drawing_and_no_new_process_is_begun(sketching) -> None:
    studio, drawing, ended = sketching(), threading.Event(), []

    def draw() -> None:
        try:
            studio.draw(asked(100_000), lambda progress: progress.step == 3 and drawing.set())
        except Ended as error:
            ended.append(error)

    thread = threading.Thread(target=draw)
    thread.start()
    assert drawing.wait(60)
    process = studio.pid()
    studio.end()
    thread.join(20)
    assert ended and not is_there(process) and studio.pid() == process
    with pytest.raises(Stopped):
        studio.draw(asked())


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.studio.test_separate import SeparateStudio, asked, separate, sketcher
if __name__ == "__main__":
    separate.studio = sketcher
    studio = SeparateStudio("cpu", Path("."))
    print(studio.draw(asked()), flush=True)
    studio.draw(asked(100_000), lambda progress: progress.step == 3 and os.kill(os.getpid(), signal.SIGKILL))
"""


def test_it_ends_with_a_page_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, tmp_path / "killed.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL and done.stderr == ""
    assert soon(lambda: not is_there(int(done.stdout)))


# The studio itself, on the tiny pipelines


@pytest.fixture(scope="module")
def studio() -> Iterator[SeparateStudio]:
    from tests.tiny_ir import CPU, tiny_ir, tiny_root

    tiny_ir("base")
    with SeparateStudio(CPU, tiny_root(), limit_gb=0.5) as made:
        yield made


def request(model: str = "base", **given):
    from stages.studio import request as requests
    from stages.studio import shelf
    from tests.tiny_ir import tiny_root

    return requests.make(shelf.find(tiny_root())[model]["fp16"], **{"prompt": "a red cat", "steps": 4} | given)


def test_it_draws_what_the_studio_draws_and_tells_as_much(studio: SeparateStudio) -> None:
    from stages.studio.studio import Studio
    from tests.tiny_ir import CPU, tiny_root

    seen: list[Progress] = []
    drawn, own = studio.draw(request(seed=5), seen.append), Studio(CPU, tiny_root()).draw(request(seed=5))
    assert drawn.picture.tobytes() == own.picture.tobytes()
    assert (drawn.request, drawn.ir, drawn.said) == (own.request, own.ir, own.said)
    assert [part for part in dict.fromkeys(one.part for one in seen) if part != "libraries"] == [
        "load", "text", "step", "decode",
    ]  # fmt: skip
    assert [one.step for one in seen if one.part == "step"] == [0, 1, 2, 3, 4]
    assert any(one.preview is not None and one.preview.size == drawn.picture.size for one in seen)


def test_the_memory_that_is_told_is_that_of_the_process_that_draws(studio: SeparateStudio) -> None:
    import psutil

    drawn = studio.draw(request())
    assert drawn.memory_mb == pytest.approx(psutil.Process(studio.pid()).memory_info().rss / 1e6, rel=0.05)


def test_a_picture_from_another_one_goes_and_comes(studio: SeparateStudio) -> None:
    from PIL import Image

    drawn = studio.draw(request(task="image-to-image", image=Image.new("RGB", (50, 40), "teal"), strength=0.5))
    assert drawn.start.size == drawn.picture.size


def test_a_drawing_is_stopped_between_steps_and_the_next_one_is_whole(studio: SeparateStudio) -> None:
    whole = studio.draw(request(steps=2))
    assert max(stopped(studio, request(steps=1000))) < 100
    assert studio.draw(request(steps=2)).picture.tobytes() == whole.picture.tobytes()


def test_a_refusal_keeps_its_field_and_the_memory_that_models_may_take_is_held_to(studio: SeparateStudio) -> None:
    with pytest.raises(Refused, match="needs .* GB of memory, 0.5 can be had") as refused:
        studio.draw(request("lcm", width=4096, height=4096))
    assert refused.value.field == "model"
