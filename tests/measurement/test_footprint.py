"""What a first picture costs, and peak memory as the system tells it."""

import pytest

from stages.ir import runtime
from stages.measurement import footprint
from tests.tiny_ir import CPU, tiny_ir


def test_peak_memory_is_read_from_the_process_itself(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  9000 kB\nVmHWM:\t  1000000 kB\n")
    assert footprint.peak_rss_mb(status) == 1024.0
    assert footprint.peak_rss_mb(tmp_path / "absent") is None


def test_a_first_picture_is_loading_and_every_parts_first_call():
    calls = {
        "text_encoder": [0.1],
        "text_encoder_2": [0.2],
        "unet": [2.0, 0.5],
        "vae_decoder": [1.0],
        "vae_encoder": [9],
    }
    found = footprint.cold(4.0, calls)
    assert found == {
        "load": 4.0, "text_encoders": 0.3, "first_step": 2.0, "second_step": 0.5, "decode": 1.0,
        "picture_of_two_steps": 7.8,
    }  # fmt: skip
    assert footprint.with_picture(found, steps=25)["picture"] == pytest.approx(7.8 + 23 * 0.5)
    assert footprint.with_picture(found, steps=1)["picture"] == pytest.approx(7.3), "a refiner's share of few steps"


def test_without_a_part_there_is_no_picture():
    found = footprint.with_picture(footprint.cold(4.0, {"vae_decoder": [1.0]}), steps=4)
    assert (found["first_step"], found["picture_of_two_steps"], found["picture"]) == (None, None, None)


def test_nothing_compiled_before_is_loaded_again():
    compiled = runtime.compile(tiny_ir("base") / "unet/openvino_model.xml", CPU)
    assert "CACHE_DIR" not in runtime.device_config(CPU, False)
    assert compiled.get_property("LOADED_FROM_CACHE") is False
