"""What the command that measures a cluster gives to its workers is measured there, and comes to the same."""

from __future__ import annotations

import copy

from proofs import cluster
from stages.engines.crew import Crew
from stages.engines.engine import LOCAL
from stages.measurement import tasks
from stages.prompts.sets import Prompt
from tests.cluster.conftest import ONE_THREAD
from tests.tiny_ir import sampler, tiny_ir


def test_pictures_are_timed_where_they_are_drawn_and_are_the_same(lasting: Crew) -> None:
    work = cluster.Pictures(tiny_ir("base"), sampler(), copy.copy(ONE_THREAD), 4.0)
    jobs = [tasks.Job("text-to-image", Prompt("p", "red"), n, None, {}) for n in range(8)]
    here = cluster.measure(LOCAL, cluster.Timed(work, pinned=True), jobs, 1)
    timed = cluster.Timed(work, pinned=False)
    there = cluster.measure(lasting, timed, jobs, 2)
    assert there["made"] == here["made"] and timed._loaded is None
    assert there["inside_s"] > 0 and there["loading_s"] > there["item_s"]
