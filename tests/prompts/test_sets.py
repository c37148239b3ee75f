"""Prompts: clean, disjoint, repeatable, and read without network when they are embedded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages import describe
from stages.prompts import sets
from stages.settings.schema import Prompts
from tests.tiny_ir import part

EMBEDDED = sorted(Path("stages/prompts").glob("*.jsonl"))


def settings(file: Path | str | None = None, **changes) -> Prompts:
    fields = {"name": "test", "source": "embedded", "repo": None, "revision": None, "subset": None, "split": None}
    return part(Prompts, **fields | {"column": "text", "file": str(file), "seed": 0} | changes)


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = [json.dumps({"id": str(n), "text": text, "split": split}) for n, (text, split) in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("file", EMBEDDED, ids=lambda path: path.stem)
def test_embedded_parts_are_disjoint_and_nothing_is_dropped(file: Path, capsys) -> None:
    calibration = sets.load_prompts(settings(file), "calibration", 80)
    evaluation = sets.load_prompts(settings(file), "evaluation", 40)
    assert not {prompt.text.casefold() for prompt in calibration} & {prompt.text.casefold() for prompt in evaluation}
    assert len({prompt.id for prompt in calibration + evaluation}) == 120
    assert capsys.readouterr().err == ""


def test_the_seed_chooses_and_the_choice_repeats() -> None:
    first, again, other = (sets.load_prompts(settings(EMBEDDED[0], seed=seed), "evaluation", 8) for seed in (0, 0, 1))
    assert first == again != other


def test_a_smaller_count_is_the_beginning_of_a_larger_one() -> None:
    eight = sets.load_prompts(settings(EMBEDDED[0]), "evaluation", 8)
    assert sets.load_prompts(settings(EMBEDDED[0]), "evaluation", 3) == eight[:3]


def test_blank_undecodable_and_repeated_texts_are_dropped_and_counted(tmp_path: Path, capsys) -> None:
    file = write(tmp_path / "p.jsonl", [("a  cat", "evaluation"), ("A cat", "calibration"), (" ", "calibration")])
    with file.open("ab") as out:
        out.write(b'{"id": "9", "text": "caf\xe9", "split": "calibration"}\n')
        out.write(b'{"id": "10", "text": "a dog", "split": "calibration"}\n')
    assert sets.load_prompts(settings(file), "calibration", 1) == [sets.Prompt("10", "a dog")]
    assert "1 blank, 1 duplicate, 1 not UTF-8" in capsys.readouterr().err


def test_a_text_in_both_parts_serves_the_first_alone(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [("a cat", "evaluation"), ("a cat", "calibration"), ("a dog", "calibration")])
    assert [prompt.text for prompt in sets.load_prompts(settings(file), "calibration", 1)] == ["a dog"]


def test_too_few_prompts_say_how_many_there_are(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [("a cat", "evaluation")])
    with pytest.raises(ValueError, match=r"'test' \(.*\) hold 1 for evaluation, fewer than the 2"):
        sets.load_prompts(settings(file), "evaluation", 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"column": "caption"}, "has no column 'caption'; it has id, split, text"), ({"file": "absent"}, "is missing")],
)
def test_a_wrong_column_or_file_is_named(tmp_path: Path, changes: dict, message: str) -> None:
    file = write(tmp_path / "p.jsonl", [("a cat", "evaluation")])
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        sets.load_prompts(settings(**{"file": file} | changes), "evaluation", 1)


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="p.jsonl, line 1: split must be one of calibration, evaluation, got 'train'"):
        sets.load_prompts(settings(write(tmp_path / "p.jsonl", [("a cat", "train")])), "evaluation", 1)


def hub_settings() -> Prompts:
    return settings(source="hub", repo="some/captions", revision="abc", subset="sub", split="train", column="caption")


def test_a_hub_set_is_streamed_at_its_revision_and_split_by_text(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []
    rows = [{"caption": f"caption {number}"} for number in range(400)]
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, **options: asked.append((names, options)) or rows)
    parts = {part: sets.load_prompts(hub_settings(), part, 60) for part in sets.PARTS}
    rows.reverse()
    assert {part: sets.load_prompts(hub_settings(), part, 60) for part in sets.PARTS} == parts
    assert asked[0] == (("some/captions", "sub"), {"streaming": True, "revision": "abc", "split": "train"})
    assert not {prompt.text for prompt in parts["calibration"]} & {prompt.text for prompt in parts["evaluation"]}


@pytest.mark.parametrize(("value", "found"), [(["a", "b"], "a list"), (7, "a number"), ({"en": "a"}, "an object")])
def test_a_column_of_a_hub_set_that_holds_no_text_is_named_with_its_row(monkeypatch, value, found: str) -> None:
    import datasets

    rows = [{"caption": "a cat"}, {"caption": None}, {"caption": value}]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_names, **_options: rows)
    with pytest.raises(ValueError, match=f"some/captions, row 3: column 'caption' must hold text, got {found}"):
        sets.load_prompts(hub_settings(), "evaluation", 1)


def test_a_dataset_script_is_not_run_and_named(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/old.py").write_text("raise SystemExit('never run')")
    script = settings(source="hub", repo=str(tmp_path / "old"), revision="main", split="train")
    with pytest.raises(
        ValueError, match="old' is a dataset script, which cannot be run: name a set with Parquet or JSON"
    ):
        sets.load_prompts(script, "evaluation", 1)


def test_a_subset_or_split_that_a_hub_set_has_not_is_named_in_one_line(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.jsonl").write_text('{"text": "a cat"}\n')
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_MODULES_CACHE", str(tmp_path / "modules"))
    wrong = settings(source="hub", repo=str(tmp_path / "set"), revision="main", split="test")
    with pytest.raises(ValueError, match="cannot be read with subset None and split 'test'") as failure:
        sets.load_prompts(wrong, "evaluation", 1)
    assert "\n" not in str(failure.value)


def test_a_hub_set_out_of_reach_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def refuse(*_names, **_options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(FileNotFoundError, match=r"'some/captions' cannot be read \(no route to host\).*photographs"):
        sets.load_prompts(hub_settings(), "evaluation", 1)


def test_a_file_is_checked_without_the_datasets_library_and_a_hub_set_is_not_looked_at(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom tests.prompts.test_sets import *\n"
        "sets.check_file(settings(EMBEDDED[0]))\nsets.check_file(hub_settings())\n"
        "print('datasets' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_a_file_that_leaves_a_part_empty_is_found_by_the_check(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'test' \(.*\) hold 0 for calibration"):
        sets.check_file(settings(write(tmp_path / "p.jsonl", [("a cat", "evaluation")])))


def test_a_bad_file_stops_the_first_stage_and_nothing_is_written(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "params.yaml").write_text(Path("params.yaml").read_text())
    (tmp_path / "mine.txt").write_text("# nothing yet\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        describe.main(["prompts.file=mine.txt", "prompts.watch=mine.txt"])
    assert end.value.code == 2 and not (tmp_path / "reports").exists()
    assert capsys.readouterr().err == "error: prompts.file 'mine.txt' holds no prompts\n"


def test_embedded_prompts_touch_no_network_and_write_nothing(tmp_path: Path) -> None:
    code = (
        "import socket\n"
        "def refuse(*_, **__): raise AssertionError('network')\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "from tests.prompts.test_sets import *\n"
        "print(len(sets.load_prompts(settings(EMBEDDED[0]), 'evaluation', 5)))\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    environment = kept | {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "5\n", done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_prompts_past_the_tokenizers_limit_are_counted() -> None:
    class Words:
        model_max_length = 3

        def __call__(self, text: str, **_options):
            return part(Prompts, input_ids=text.split())

    some = [sets.Prompt("1", "a b c"), sets.Prompt("2", "a b c d")]
    assert sets.count_truncated(some, Words()) == 1
