"""The yardstick for work."""

from stages.ir import anatomy, runtime
from stages.measurement import peak
from tests.tiny_ir import CPU


def test_the_peak_is_measured_at_the_precision_that_is_executed(monkeypatch):
    monkeypatch.setattr(peak, "SIDE", 64)
    assert set(anatomy.executed_precisions(runtime.compile(peak._chain(True), CPU))) <= {"i8", "u8"}
    assert set(anatomy.executed_precisions(runtime.compile(peak._chain(False), CPU))) == {"f32"}
    assert all(gops > 0 for gops in peak.peak_gops(CPU).values())
