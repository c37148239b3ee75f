"""Publishing: what is shown, what is refused and why, what arrives at the Hub, and what a cut connection costs."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from stages import publish
from stages.files import manifest
from tests.fake_ir import UNET, changed, fake_ir, measured, measured_ir, noise, put
from tests.hub_writing import WritingHub

ROOT = Path(__file__).parents[1]
TOKEN = "hf_good"
HERE = "me/mini-vega-int8"
TO_HUB = ("mini-vega", "--to", f"hub:{HERE}")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return measured_ir(tmp_path_factory.mktemp("made"))


@pytest.fixture
def root(made, tmp_path, monkeypatch) -> Path:
    """A working directory with a measured IR that a test may spoil."""
    monkeypatch.setattr(sys, "argv", ["publish"])
    shutil.copytree(made, tmp_path / "root")
    monkeypatch.chdir(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with WritingHub(tmp_path / "hub", {TOKEN: {"me"}}) as server:
        server.stand_in(monkeypatch, tmp_path / "cache")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


def run(capsys, *arguments: str) -> tuple[int, str]:
    """Exit status and all that was said."""
    status = 0
    try:
        publish.main(list(arguments))
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    assert TOKEN not in out + err
    return status, out + err


def refused(capsys, *arguments: str) -> list[str]:
    """Reasons of a dry run, which are those of the run itself."""
    status, said = run(capsys, *(arguments or TO_HUB))
    assert status == 1
    reasons = [line[2:] for line in said.splitlines() if line.startswith("- ")]
    status, error = run(capsys, *(arguments or TO_HUB), "--yes")
    assert status == 2 and any(reason in error for reason in reasons)
    return reasons


# What is shown, and what is refused


def test_a_dry_run_shows_files_card_target_and_terms_and_asks_nobody(root, hub, capsys):
    status, said = run(capsys, *TO_HUB)
    assert status == 0 and hub.requests == []
    assert "unet/openvino_model.bin" in said and "150.0 kB" in said.replace("150 kB", "150.0 kB")
    assert f"{hub.endpoint}/{HERE}, private" in said
    assert "ShareAlike 4.0: its terms are passed on, and its text goes with the weights." in said
    assert said.splitlines()[-1] == "Nothing was sent. The same command with --yes publishes it."
    card = (root / "artifacts/staged/mini-vega/int8/README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["license"] == "cc-by-sa-4.0"
    assert f'snapshot_download("{HERE}")' in card and "![" in card and "| fidelity, SQNR (dB) |" in card
    assert "An Ordinary Processor with 2 cores" in card and "2026-11-26" in card


def test_staged_files_are_the_irs_own_and_staging_twice_gives_the_same_bytes(root, hub, capsys):
    run(capsys, *TO_HUB)
    staged = root / "artifacts/staged/mini-vega/int8"
    assert (staged / UNET).samefile(root / "artifacts/ir/mini-vega/int8" / UNET)
    before = manifest.digest(staged)
    run(capsys, *TO_HUB)
    assert manifest.digest(staged) == before
    said = manifest.verify(staged, rerun="")
    assert {"LICENSE", "README.md", "pictures.webp"} < set(said["files"])
    assert said["inputs"] == {"ir": manifest.digest(root / "artifacts/ir/mini-vega/int8")}
    assert said["facts"]["made"]["stage"] == "quantize"


def test_random_weights_stay_here(root, hub, capsys):
    fake_ir(root, "mini-vega", random_weights=True)
    assert any("has random weights" in reason for reason in refused(capsys))


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        (None, "has no licence: say in model.mini-vega.licence"),
        ("my-own", "the licence 'my-own' of mini-vega int8 is unknown"),
        ("cc-by-sa-4.0 AND cc-by-nd-4.0", "NoDerivatives 4.0 forbids that mini-vega int8 is handed on"),
    ],
)
def test_what_is_not_known_to_be_allowed_is_not_done(root, hub, capsys, licence, said):
    fake_ir(root, "mini-vega", licence)
    assert any(said in reason for reason in refused(capsys))


def test_openrail_is_passed_on_with_its_text(root, hub, capsys):
    measured_ir(root, licence="openrail++")
    status, said = run(capsys, *TO_HUB)
    assert status == 0 and "RAIL++-M: its terms are passed on, and its text goes with the weights." in said
    assert "Attachment A" in (root / "artifacts/staged/mini-vega/int8/LICENSE").read_text()


def test_a_licence_whose_text_nobody_has_stays_here(root, hub, capsys):
    measured_ir(root, licence="fair-ai-public-license-1.0-sd")
    (reason,) = refused(capsys)
    assert "says only where its licence is to be read, and the text is to go along" in reason


def flip(folder: Path) -> None:
    content = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (flip, "has other contents than its manifest says: run 'dvc repro quantize@mini-vega'"),
        (lambda folder: (folder / UNET).unlink(), "is missing: run 'dvc repro quantize@mini-vega'"),
        (lambda folder: (folder / "unet/notes.txt").write_text("x"), "does not know: unet/notes.txt"),
        (shutil.rmtree, "manifest.json is missing"),
    ],
)
def test_a_folder_that_is_not_what_its_manifest_says_stays_here(root, hub, capsys, spoil, said):
    spoil(root / "artifacts/ir/mini-vega/int8")
    assert any(said in reason for reason in refused(capsys))


def test_a_failed_gate_is_a_reason_with_its_figure_and_can_be_asked_to_be_less(root, hub, capsys):
    measured_ir(root, level_db=20.0)
    (reason,) = refused(capsys)
    assert reason.startswith("gate failed: mini-Vega int8 SQNR 20.0 dB")
    assert run(capsys, "mini-vega", "gates.min_sqnr_db=15", *TO_HUB[1:])[0] == 0
    assert run(capsys, "mini-vega", "fp16", *TO_HUB[1:])[0] == 0, "which the others are compared with"


def test_what_was_not_measured_and_what_was_measured_too_little_stay_here(root, hub, capsys):
    measured_ir(root, prompts=2)
    assert any("too few prompts to decide: 2" in reason for reason in refused(capsys))
    shutil.rmtree(root / "reports/benchmark")
    (reason,) = refused(capsys)
    assert "not measured: run 'dvc repro benchmark@mini-vega'" in reason


def test_figures_of_another_ir_are_not_published(root, hub, capsys):
    put(root / "artifacts/ir/mini-vega/int8" / UNET, noise("another search", 150_000))
    changed(root, "mini-vega")
    (reason,) = refused(capsys)
    assert "were measured of another IR than the one in artifacts/ir/mini-vega/int8" in reason


def test_without_a_token_or_a_network_nothing_is_read(root, hub, capsys, monkeypatch):
    from huggingface_hub import constants

    shutil.rmtree(root / "artifacts")
    monkeypatch.delenv("HF_TOKEN")
    status, said = run(capsys, *TO_HUB, "--yes")
    assert (
        status == 2 and "there is no Hub token: set HF_TOKEN (or run `hf auth login`)" in said and "missing" not in said
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE=1 says that nothing may be sent" in run(capsys, *TO_HUB, "--yes")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "hub:vega"], "lacks the owner: hub:OWNER/NAME"),
        (["--to", "hub:me/ve ga"], "is no name of a repository"),
        (["--to", "s3:me/vega"], "--to must be hub:OWNER/NAME"),
        (["--to", "dvc", "--public"], "--to must be hub:OWNER/NAME"),
        (["--to", f"hub:{HERE}", "../../etc"], "is no precision; in artifacts/ir/mini-vega there is: fp16, int8"),
        (["--to", f"hub:{HERE}", "gates.min_sqnr=3"], "did you mean min_sqnr_db?"),
        (["--to", f"hub:{HERE}", "int4"], "is missing: run 'python -m stages.schemes mini-vega int4'"),
    ],
)  # fmt: skip
def test_a_wrong_word_says_what_is_allowed(root, hub, capsys, words, said):
    status, told = run(capsys, "mini-vega", *words)
    assert status in (1, 2) and said in told


# The Hub


def publish_it(capsys, *more: str) -> str:
    status, said = run(capsys, *TO_HUB, "--yes", *more)
    assert status == 0, said
    return said.splitlines()[-1]


def test_what_was_published_is_fetched_again_byte_for_byte(root, hub, capsys, tmp_path):
    from huggingface_hub import snapshot_download

    line = publish_it(capsys)
    assert line.startswith(
        f"published mini-vega int8: {hub.endpoint}/{HERE} at commit {hub.commits[HERE][:7]}, private: "
    )
    assert len(hub.committed) == 1 and hub.private == {HERE}
    fetched = Path(snapshot_download(HERE, local_dir=tmp_path / "fetched"))
    assert manifest.verify(fetched, rerun="") == manifest.verify(root / "artifacts/staged/mini-vega/int8", rerun="")
    assert line.endswith("in 13 files, mini-Vega as OpenVINO IR with card and licence")


def test_nothing_new_makes_no_commit_and_a_new_ir_sends_only_what_changed(root, hub, capsys):
    publish_it(capsys)
    sent = sum(hub.received.values())
    assert hub.commits[HERE][:7] in publish_it(capsys)
    assert len(hub.committed) == 1 and sum(hub.received.values()) == sent
    folder = root / "artifacts/ir/mini-vega/int8"
    (folder / "vae_decoder/openvino_model.xml").unlink()
    put(folder / UNET, noise("another search", 150_000))
    measured(root, "mini-vega", changed(root, "mini-vega"))
    publish_it(capsys)
    lines = {(line["key"], line["value"].get("path")) for line in hub.committed[1]}
    assert ("deletedFile", "vae_decoder/openvino_model.xml") in lines, "in the same commit"
    assert ("lfsFile", UNET) in lines and sum(hub.received.values()) == sent + 150_000


def test_a_connection_that_is_cut_once_is_tried_again_without_a_word(root, hub, capsys):
    unet = manifest.sha256(root / "artifacts/ir/mini-vega/int8" / UNET)
    hub.cut_uploads = {unet: [50_000]}
    assert publish_it(capsys).startswith("published")
    assert hub.received[unet] == 150_000 + 50_000


def test_a_cut_upload_is_told_in_a_line_and_the_next_run_sends_what_lacks(root, hub, capsys):
    unet = manifest.sha256(root / "artifacts/ir/mini-vega/int8" / UNET)
    hub.cut_uploads = {unet: [50_000] * 99}
    status, said = run(capsys, *TO_HUB, "--yes")
    assert status == 2 and len(said.strip().splitlines()) == 1
    assert "was cut off" in said and "run the same command again: what has arrived is not sent twice" in said
    assert "secret" not in said and hub.committed == []
    assert len(hub.objects) == 2, "text encoder and decoder have arrived"
    hub.cut_uploads = {}
    before = sum(hub.received.values())
    publish_it(capsys)
    assert sum(hub.received.values()) - before == 150_000, "the UNet's alone"


def test_what_others_put_there_is_kept_unless_asked(root, hub, capsys):
    hub.make(HERE, **{"README.md": b"my own model", "weights.bin": b"x"})
    status, said = run(capsys, *TO_HUB, "--yes")
    assert (
        status == 2 and "files that publish did not put there (README.md, weights.bin)" in said and "--replace" in said
    )
    publish_it(capsys, "--replace")
    assert not (hub.repositories[HERE] / "weights.bin").exists()


def test_a_card_that_was_changed_there_and_another_models_folder_are_kept(root, hub, capsys):
    publish_it(capsys)
    (hub.repositories[HERE] / "README.md").write_text("mine now")
    assert "changed or added there by hand (README.md)" in run(capsys, *TO_HUB, "--yes")[1]
    assert f"{HERE} holds mini-vega int8" in run(capsys, "mini-vega", "fp16", *TO_HUB[1:], "--yes")[1]
    assert len(hub.committed) == 1


def test_a_repository_keeps_its_visibility(root, hub, capsys):
    hub.make(HERE, private=False)
    assert f"{HERE} is public: say --public" in run(capsys, *TO_HUB, "--yes")[1]
    publish_it(capsys, "--public")
    assert run(capsys, "mini-vega", "--to", "hub:me/other", "--public", "--yes")[0] == 0
    assert "me/other" not in hub.private


@pytest.mark.parametrize(
    ("token", "to", "refusing", "said"),
    [
        ("hf_bad", HERE, {}, "does not accept the Hub token: set HF_TOKEN"),
        (TOKEN, "others/vega", {}, "forbids it: set HF_TOKEN (or run `hf auth login`) with a token that may write to"),
        (TOKEN, HERE, {"preupload": 404}, "does not know the repository"),
        (TOKEN, HERE, {"commit": 409}, "says that somebody else is changing the repository"),
        (TOKEN, HERE, {"commit": 412}, "was changed meanwhile"),
        (TOKEN, HERE, {"batch": 500}, "does not do it: run the same command again"),
        ("hf_gööd", HERE, {}, "the Hub token holds characters that no token has"),
    ],
)
def test_every_no_of_the_hub_is_a_line_that_says_what_to_do(root, hub, capsys, monkeypatch, token, to, refusing, said):
    monkeypatch.setenv("HF_TOKEN", token)
    hub.refusing = refusing
    status, told = run(capsys, "mini-vega", "--to", f"hub:{to}", "--yes")
    assert status == 2 and said in told and token not in told and len(told.strip().splitlines()) == 1
    assert hub.committed == []


def test_a_hub_that_is_not_there_is_a_line_too(root, hub, capsys):
    hub._server.server_close()
    hub._server.shutdown()
    status, told = run(capsys, *TO_HUB, "--yes")
    assert status == 2 and "was cut off" in told and len(told.strip().splitlines()) == 1


def test_nothing_else_in_this_project_sends_anything():
    sends = re.compile(r"create_commit|create_repo|preupload|upload_f|upload_large|push_to_hub|cloud\.push|repo\.push")
    found = {
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("[smp]*/**/*.py") if sends.search(path.read_text())
    }
    assert {name for name in found if name.startswith(("stages/", "miniatures/", "proofs/"))} == {
        "stages/publishing/hub.py", "stages/publishing/pushing.py", "stages/publishing/sending.py"
    }  # fmt: skip
