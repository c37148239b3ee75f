"""Processors that sum products of 8-bit integers in 16 bits, and IR that was made for others."""

from __future__ import annotations

import pytest

from stages.machine import description, overflow

QUANTIZED = {"operations": {"fake_quantize": 3}}


@pytest.mark.parametrize(
    ("system", "present", "overflows"),
    [
        ("x86_64", ["avx2"], True),
        ("x86_64", ["avx2", "avx512f"], True),
        ("x86_64", ["avx2", "avx_vnni"], False),
        ("x86_64", ["avx2", "avx512f", "avx512_vnni"], False),
        ("aarch64", [], False),
    ],
)
def test_sums_overflow_on_x86_without_vnni(system: str, present: list[str], overflows: bool, monkeypatch) -> None:
    monkeypatch.setattr(description, "instruction_sets", lambda: present)
    monkeypatch.setattr(description.platform, "machine", lambda: system)
    assert description.sums_overflow() is overflows


@pytest.mark.parametrize(
    ("facts", "device", "told"),
    [
        (QUANTIZED, "CPU", True),  # of before bits were recorded
        (QUANTIZED | {"weight_bits": 8}, "CPU", True),
        (QUANTIZED | {"weight_bits": 7}, "CPU", False),
        (QUANTIZED | {"weight_bits": 8}, "GPU", False),
        ({"operations": {"fake_quantize": 0}}, "CPU", False),
        ({}, "CPU", False),
    ],
)
def test_an_ir_for_other_processors_is_told_of_where_it_runs(facts, device: str, told: bool, monkeypatch) -> None:
    monkeypatch.setattr(description, "sums_overflow", lambda: True)
    assert (overflow.said(facts, device) is not None) is told
    monkeypatch.setattr(description, "sums_overflow", lambda: False)
    assert overflow.said(facts, device) is None
