"""Figures as computed by hand."""

from stages.measurement import figures


def test_work_is_twice_the_multiply_accumulates_over_the_time():
    def measured(share: float) -> dict:
        return {"unet_step_s": {"median": 0.001}, "macs": {"total": 5_000_000, "share_int8": share}}

    peaks = {"float": 20.0, "int8": 40.0}
    assert figures.work_figures(measured(0.9), peaks) == {"unet_gops": 10.0, "unet_share_of_peak": 0.25}
    assert figures.work_figures(measured(0.4), peaks) == {"unet_gops": 10.0, "unet_share_of_peak": 0.5}
