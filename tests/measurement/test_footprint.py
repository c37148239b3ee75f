"""Peak memory as the system tells it."""

from stages.measurement import footprint


def test_peak_memory_is_read_from_the_process_itself(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  9000 kB\nVmHWM:\t  1000000 kB\n")
    assert footprint.peak_rss_mb(status) == 1024.0
    assert footprint.peak_rss_mb(tmp_path / "absent") is None
