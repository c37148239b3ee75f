"""Shards are whole or absent, and samples come evenly out of all of them."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from stages.calibration import shards


def save(folder: Path, count: int, samples: int) -> None:
    for shard in range(count):
        values = [{"a": np.full(2, 10 * shard + n), "t": np.array(n)} for n in range(samples)]
        shards.save_shard(shards.shard_path(folder, shard), values, {"prompt": str(shard)})


def test_a_shard_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    save(tmp_path, count=1, samples=3)
    loaded = shards.load_shard(shards.shard_path(tmp_path, 0))
    assert [(sample["a"].tolist(), sample["t"].shape) for sample in loaded] == [([n, n], ()) for n in range(3)]
    assert shards.count_samples(shards.shard_path(tmp_path, 0)) == 3


def test_what_was_seen_comes_back_in_the_order_of_prompts_and_steps(tmp_path: Path) -> None:
    for prompt in (1, 0):
        numbers = [np.full(2, 10 * prompt + step, np.float32) for step in range(2)]
        inputs = [{"sample": one, "t": np.array(7)} for one in numbers]
        found = [{"channels/max/up/conv": one + 100} for one in numbers]
        shards.save_seen(shards.shard_path(tmp_path, prompt), inputs, found, [-one for one in numbers])
    seen = shards.Seen(tmp_path)
    assert [one["sample"][0] for one in seen] == [0, 1, 10, 11] and len(seen) == 4
    assert all(one.keys() == {"sample", "t"} and one["t"].shape == () for one in seen)
    assert [seen.extremes(n)["channels/max/up/conv"][0] for n in range(4)] == [100, 101, 110, 111]
    assert [seen.answer(n)[0] for n in range(4)] == [0, -1, -10, -11]


def test_fewer_samples_than_there_are_come_from_every_shard_and_every_step(tmp_path: Path) -> None:
    save(tmp_path, count=4, samples=4)
    assert [int(sample["a"][0]) for sample in shards.load_samples(tmp_path, 4)] == [0, 11, 22, 33]
    assert len(list(shards.load_samples(tmp_path, 99))) == 16


def test_rows_are_those_of_the_latents_and_a_shard_without_any_is_named(tmp_path: Path) -> None:
    path = shards.shard_path(tmp_path, 0)
    shards.save_shard(path, [{"sample": np.zeros((2, 4, 8, 8), np.float32)}], {})
    assert shards.rows(tmp_path) == 2
    for spoiled in ({"saEple": np.zeros((2, 4, 8, 8), np.float32)}, {"sample": np.zeros((), np.float32)}):
        shards.save_shard(path, [spoiled], {})
        with pytest.raises(ValueError, match=r"00000\.safetensors holds no UNet inputs.*'sample'.*dvc repro -f -s"):
            shards.rows(tmp_path)


def test_a_shard_that_fails_to_write_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SafetensorError):
        shards.save_shard(shards.shard_path(tmp_path, 0), [{"a": np.array(["text"])}], {})
    assert list(tmp_path.glob("*.safetensors")) == []


def test_extremes_are_those_of_the_samples_that_are_loaded(tmp_path: Path) -> None:
    save(tmp_path, count=3, samples=3)
    for shard in (0, 2):
        found = [{"channels/max/conv": np.array([10.0 * shard + n])} for n in range(2)]
        shards.save_extremes(shards.shard_path(tmp_path, shard), [*found, None])
    for count in (4, 99):
        told = shards.Extremes(tmp_path, count)
        for number, sample in enumerate(shards.load_samples(tmp_path, count)):
            place, shard = int(sample["t"]), int(sample["a"][0]) // 10
            known = None if shard == 1 or place == 2 else [10.0 * shard + place]
            assert (told(number) and told(number)["channels/max/conv"].tolist()) == known
    assert [shards.count_told(shards.shard_path(tmp_path, shard)) for shard in range(3)] == [2, 0, 2]


def test_damaged_extremes_name_their_file_and_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "vega"
    folder.mkdir()
    save(folder, count=1, samples=1)
    shards.save_extremes(shards.shard_path(folder, 0), [{"channels/max/conv": np.ones(3)}])
    path = shards.beside(shards.shard_path(folder, 0))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"extremes/00000.safetensors holds no extremes .*calibrate@vega'"):
        shards.Extremes(folder, 1)(0)
