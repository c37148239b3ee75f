"""Prompt files as users have them: four forms, one result, and one line for whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.prompts import reading, sets
from tests.prompts.test_sets import settings

FORMS = {
    "p.jsonl": '{"text": "a cat", "id": "cat", "split": "evaluation"}\n\n'
    '{"text": "a dog", "id": 7, "split": "calibration"}\n',
    "p.csv": 'text,id,split\na cat,cat,evaluation\n\n"a dog",7,calibration\n',
    "P.TSV": "id\ttext\tsplit\tnote\ncat\ta cat\tevaluation\tx\n7\ta dog\tcalibration\t\n",
}  # fmt: skip


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(folder: Path, name: str, content: str | bytes, column: str = "text") -> list[reading.Row]:
    return reading.read(write(folder, name, content), column)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_all_forms_say_the_same(tmp_path: Path, name: str, ending: str, mark: str) -> None:
    rows = read(tmp_path, name, mark + FORMS[name].replace("\n", ending))
    assert rows == [("cat", "a cat", "evaluation"), ("7", "a dog", "calibration")]


def test_plain_text_is_a_prompt_a_line_without_blank_lines_and_comments(tmp_path: Path) -> None:
    rows = read(tmp_path, "p.txt", '# mine\na cat, sleeping\n\n  # and\n  a "dog" #1 \n')
    assert rows == [("", "a cat, sleeping", ""), ("", 'a "dog" #1', "")]


def test_a_file_without_parts_gives_every_fourth_text_to_evaluation_whatever_its_form(tmp_path: Path) -> None:
    lines = [f"picture {number}" for number in range(200)]
    text, table = (
        write(tmp_path, name, head + "\n".join(lines)) for name, head in (("p.txt", ""), ("p.csv", "text\n"))
    )
    shares = {"calibration": 150, "evaluation": 50}
    found = {part: sets.load_prompts(settings(text), part, share) for part, share in shares.items()}
    assert found == {part: sets.load_prompts(settings(table), part, share) for part, share in shares.items()}
    every = [prompt for part in found.values() for prompt in part]
    assert {prompt.text for prompt in every} == set(lines)
    assert all(len(prompt.id) == 12 for prompt in every) and len({prompt.id for prompt in every}) == 200


def test_two_prompts_are_enough_for_both_parts(tmp_path: Path) -> None:
    file = settings(write(tmp_path, "p.txt", "a cat\na dog\n"))
    assert [len(sets.load_prompts(file, part, 1)) for part in sets.PARTS] == [1, 1]


def test_quoted_texts_hold_commas_and_line_ends_and_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    assert read(tmp_path, "p.csv", 'text\n"a cat,\non a ""mat"""\n') == [("", 'a cat,\non a "mat"', "")]
    with pytest.raises(ValueError, match="line 4 has 2 columns instead of 1"):
        read(tmp_path, "p.csv", 'text\n"a cat,\non a mat"\na dog, too\n')


def test_only_ends_of_lines_end_a_line(tmp_path: Path) -> None:
    assert read(tmp_path, "p.jsonl", '{"text": "a\u2028b"}\n') == [("", "a\u2028b", "")]


def test_texts_that_are_not_utf8_are_dropped_and_counted_in_every_form(tmp_path: Path, capsys) -> None:
    lines = b"".join(b"picture %d\n" % number for number in range(20))
    for name, head in (("p.txt", b""), ("p.csv", b"text\n")):
        sets.load_prompts(settings(write(tmp_path, name, head + b"caf\xe9\n" + lines)), "calibration", 1)
        assert "1 not UTF-8" in capsys.readouterr().err


def test_ids_may_be_given_for_some_rows_and_are_made_for_others(tmp_path: Path) -> None:
    file = write(tmp_path, "p.csv", "id,text\n" + "".join(f"{n if n % 2 else ''},picture {n}\n" for n in range(40)))
    for prompt in sets.load_prompts(settings(file), "calibration", 20):
        number = prompt.text.removeprefix("picture ")
        assert prompt.id == number if int(number) % 2 else len(prompt.id) == 12


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl", '{"text": "a"}\n{"text": ', "p.jsonl, line 2 is not valid JSON: "),
        ("p.jsonl", '["a"]\n', "line 1 must be an object such as .*, got a list"),
        ("p.jsonl", '{"text": "a"}\n\n{"text": ["a", "b"]}\n', "line 3: column 'text' must hold text, got a list: set"),
        ("p.jsonl", '{"text": 3}\n', "line 1: column 'text' must hold text, got a number: set prompts.column"),
        ("p.jsonl", '{"text": true}\n', "line 1: column 'text' must hold text, got true or false"),
        ("p.jsonl", '{"text": "a"}\n{"caption": "b", "id": 1}\n', "line 2 has no column 'text'; it has caption, id"),
        ("p.csv", "prompt,id\na,b\n", "p.csv, line 1 has no column 'text'; it has id, prompt: set prompts.column"),
        ("p.csv", "text;id\na;b\n", "line 1 has no column 'text'; it has text;id"),
        ("p.csv", "text,text\na,b\n", "line 1 names column 'text' twice"),
        ("p.csv", "text,id\na cat, asleep,b\n", "line 2 has 3 columns instead of 2, as line 1 has names: quote"),
        ("p.csv", "text,id\na cat\n", "line 2 has 1 columns instead of 2"),
        ("p.csv", 'text\na\n"b\nc\n', "line 3 cannot be read: .*check its quotes"),
        ("p.csv", "", "p.csv' holds no prompts"),
        ("p.csv", "text,id\n", "p.csv' holds no prompts"),
        ("p.txt", "\n# a\n", "p.txt' holds no prompts"),
        ("p.jsonl", "\n", "p.jsonl' holds no prompts"),
        ("p.xlsx", "a", "p.xlsx' must end in one of .jsonl, .json, .txt, .csv, .tsv"),
        ("p.csv", "text,split\na,train\n", "line 2: split must be one of calibration, evaluation, got 'train'"),
        ("p.csv", "text,split\na,evaluation\nb,\n", "line 3: split is missing, which other lines have"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_in_a_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as failure:
        read(tmp_path, name, content)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('"a/b"', "id 'a/b' must be letters, digits, - _ . "),
        ('"../up"', "must be letters"),
        ('".hidden"', "no . first"),
        ('"a b"', "must be letters"),
        ('"café"', "must be letters"),
        ('"a\\nb"', "must be letters"),
        (f'"{"x" * 81}"', "at most 80"),
        ("1.5", "id must be text or a whole number, got a number"),
        ("[1]", "id must be text or a whole number, got a list"),
        ("true", "id must be text or a whole number, got true or false"),
    ],
)
def test_an_id_that_cannot_name_a_file_is_refused(tmp_path: Path, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"p.jsonl, line 2: .*{message}"):
        read(tmp_path, "p.jsonl", f'{{"text": "a", "id": "ok"}}\n{{"text": "b", "id": {value}}}\n')


@pytest.mark.parametrize("value", ['"A-b_c.d"', f'"{"x" * 80}"', "0", "-3", '"007"'])
def test_an_id_that_can_is_kept_as_it_is(tmp_path: Path, value: str) -> None:
    assert read(tmp_path, "p.jsonl", f'{{"text": "a", "id": {value}}}')[0][0] == value.strip('"')


@pytest.mark.parametrize(("first", "second"), [('"cat"', '"cat"'), ('"cat"', '"Cat"'), ("1", '"1"')])
def test_an_id_that_occurs_twice_is_named_with_both_lines(tmp_path: Path, first: str, second: str) -> None:
    content = f'{{"text": "a", "id": {first}}}\n\n{{"text": "b", "id": {second}}}\n'
    with pytest.raises(ValueError, match=r"p.jsonl, line 3: id '\w+' occurs twice, as '\w+' in line 1 already"):
        read(tmp_path, "p.jsonl", content)


def test_a_key_that_stands_twice_in_a_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="p.jsonl, line 1 is not valid JSON: 'text' stands there twice"):
        read(tmp_path, "p.jsonl", '{"text": "a cat", "text": "a dog"}')


def test_a_text_with_control_characters_is_dropped_and_counted() -> None:
    kept, dropped = sets.clean([("1", "a\0cat", ""), ("2", "a\tdog\n", "")])
    assert [text for _, text, _ in kept] == ["a dog"] and dropped == {"with control characters": 1}
