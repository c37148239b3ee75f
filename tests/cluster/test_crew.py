"""Workers of a cluster give what a loop gives, whatever becomes of them on the way."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from stages.engines import hand, shift
from stages.engines.crew import Crew
from stages.engines.engine import LOCAL
from stages.files import manifest
from tests.cluster.conftest import ONE_THREAD, Nodes, crew, nodes
from tests.cluster.works import Saying, saying


def done(engine, work, count: int = 12) -> list:
    return list(engine.map(work, range(count), "saying", "item"))


def test_results_come_in_the_order_of_the_items_from_several_processes(lasting: Crew, tmp_path: Path) -> None:
    work = saying(tmp_path / "ir", ONE_THREAD)
    alone = done(LOCAL, work)
    work.meeting = tmp_path / "meeting"
    together = done(lasting, work)
    assert [found[:2] for found in together] == [found[:2] for found in alone]
    assert len({found[2] for found in together}) == 2 and os.getpid() not in {found[2] for found in together}


def test_workers_stay_for_the_next_work_while_they_are_enough_for_it_and_until_they_rest(
    two: Nodes, tmp_path: Path
) -> None:
    engine, work = crew(two), saying(tmp_path / "ir", ONE_THREAD)

    def processes() -> set[int]:
        work.meeting = tmp_path / f"meeting-{len(list(tmp_path.iterdir()))}"
        return {found[2] for found in done(engine, work)}

    first = processes()
    engine.settings.memory_gb = 0.4
    assert processes() == first and len(first) == 2
    engine.settings.memory_gb = 0.6
    second = processes()
    os.kill(min(second), signal.SIGKILL)
    third = processes()
    assert not first & second and len(second & third) == 1
    engine.rest()
    assert not third & processes()


def test_no_more_is_done_ahead_than_is_asked_for(lasting: Crew, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shift, "AHEAD", 3)
    asked: list[int] = []

    class Items(list):
        def __getitem__(self, number):
            asked.append(number)
            return super().__getitem__(number)

    results = lasting.map(saying(tmp_path / "ir", ONE_THREAD), Items(range(50)), "saying", "item")
    assert next(results)[0] == 0 and max(asked) < 3 * 2 + 1
    results.close()


def test_workers_killed_at_random_moments_leave_no_trace_in_the_results(lasting: Crew, tmp_path: Path, capfd) -> None:
    count, chance, kills = 60, random.Random(20), 0
    work, found = saying(tmp_path / "ir", ONE_THREAD, seconds=0.05), []
    for result in lasting.map(work, range(count), "saying", "item"):
        found.append(result)
        if kills < 10 and len(found) % 5 == 0:
            time.sleep(chance.uniform(0, 0.1))
            kills += 1
            os.kill(result[2], signal.SIGKILL) if _alive(result[2]) else None
    assert [one[:2] for one in found] == [(number, "so") for number in range(count)]
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("ended, its work goes to others") >= 5
    assert "raylet" not in said.err and "Error" not in said.err


@pytest.mark.slow
def test_a_lost_nodes_items_are_done_by_what_is_left(tmp_path: Path) -> None:
    with nodes(2) as pair:
        found = []
        for result in crew(pair).map(saying(tmp_path / "ir", ONE_THREAD, seconds=0.2), range(50), "saying", "item"):
            found.append(result)
            if len(found) == 5:
                _lose(pair.raylets[1])
        assert [one[:2] for one in found] == [(number, "so") for number in range(50)]
        assert len({one[2] for one in found[-5:]}) == 1


def test_an_item_that_ends_every_worker_ends_the_run_with_its_number(lasting: Crew, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"saying: 5 workers ended at item 4 of 12, the last one with: .*memory_gb"):
        done(lasting, saying(tmp_path / "ir", ONE_THREAD, fatal=3))


def test_what_the_work_refuses_is_refused_here(lasting: Crew, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^item 3 cannot be done"):
        done(lasting, saying(tmp_path / "ir", ONE_THREAD, refused=3))


def test_more_than_the_cluster_has_is_refused_with_what_it_has(two: Nodes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"each wants 8 CPUs and 0.5 GB, all nodes together have 2 and .* free"):
        done(crew(two, cpus=8), saying(tmp_path / "ir", ONE_THREAD))


def test_a_node_with_fewer_cores_than_results_are_of_is_refused(two: Nodes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Saying, "threads", lambda work: 7)  # as on an asking machine with seven
    with pytest.raises(ValueError, match=r"computes with \d threads where results here are of 7.*device.threads="):
        done(crew(two), saying(tmp_path / "ir", ONE_THREAD))


def test_a_node_with_another_release_is_refused(two: Nodes, tmp_path: Path, monkeypatch) -> None:
    tools = manifest.tools() | {"openvino": "2020.1"}
    ours = hand.alike(ONE_THREAD) | {"tools": tools}
    monkeypatch.setattr(hand, "alike", lambda device: ours)
    with pytest.raises(ValueError, match=r"has openvino 20\d\d\S* where this machine has 2020.1: its results"):
        done(crew(two), saying(tmp_path / "ir", ONE_THREAD))


def test_ir_that_a_node_does_not_see_is_sent_once_and_kept(two: Nodes, lasting: Crew) -> None:
    if two.hidden is None:
        pytest.skip("a folder can be hidden from the nodes only by root, with namespaces of mounts")
    work = saying(two.hidden / "ir", ONE_THREAD, seconds=0.05)
    manifest.write(two.hidden / "ir", stage="export", inputs={}, settings={})
    digest = manifest.digest(two.hidden / "ir")
    assert {found[1] for found in done(lasting, work)} == {"so"}
    kept = two.cache / "pocketxl" / "ir" / digest
    written = (kept / "said").stat().st_mtime_ns
    assert {found[1] for found in done(lasting, work)} == {"so"}
    assert (kept / "said").stat().st_mtime_ns == written
    (kept / "said").write_text("oh")
    with pytest.raises(ValueError, match=rf"node \S+: {kept}/said is not what .* \({digest[:12]}…\): remove it"):
        done(lasting, work)


def _lose(raylet: int) -> None:
    """A node with all that runs on it."""
    node = psutil.Process(raylet)
    for process in [node, *node.children(recursive=True)]:
        process.kill()


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
