"""Augmentation: what it does to pixels, that a seed decides it, and that only training batches see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lehr.contracts.recipe_tables import Augment
from lehr_trainer import learner
from lehr_trainer.augment import Augmentation
from lehr_trainer.models import scale_pixels

MakeJob = Callable[..., Any]
IMAGES = torch.randint(0, 256, (64, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
COLOURS = torch.stack([IMAGES, IMAGES.flip(2), 255 - IMAGES], dim=3)


def _augmented(images: torch.Tensor, augment: Augment, epoch: int = 0) -> Any:
    augmentation = Augmentation(augment)
    draws = augmentation.draws(len(images), seed=1, epoch=epoch, device=images.device)
    return augmentation.pixels(images, draws)


@pytest.mark.parametrize("images", [IMAGES, COLOURS])
def test_nothing_asked_for_is_nothing_done(images: Any) -> None:
    assert torch.equal(_augmented(images, Augment()), scale_pixels(images))


@pytest.mark.parametrize("images", [IMAGES, COLOURS])
def test_a_flip_mirrors_about_half_of_the_images_and_leaves_the_others(images: Any) -> None:
    flipped = _augmented(images, Augment(horizontal_flip=True))
    plain = scale_pixels(images)
    same = [torch.equal(a, b) for a, b in zip(flipped, plain, strict=True)]
    mirrored = [torch.equal(a, b.flip(1)) for a, b in zip(flipped, plain, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 16 < sum(mirrored) < 48


@pytest.mark.parametrize("images", [IMAGES, COLOURS])
def test_a_crop_is_a_window_of_the_padded_image(images: Any) -> None:
    cropped = _augmented(images, Augment(crop_padding=2))
    seen = set()
    for image, crop in zip(scale_pixels(images), cropped, strict=True):
        padded = torch.zeros(13, 11, *image.shape[2:])
        padded[2:-2, 2:-2] = image
        (found,) = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(padded[top : top + 9, left : left + 7], crop)
        ]
        seen.add(found)
    assert {top for top, _ in seen} == {left for _, left in seen} == set(range(5))


@pytest.mark.parametrize("shape", [(21, 21), (21, 31)])
def test_a_rotation_turns_about_the_middle_without_stretching(shape: tuple[int, int]) -> None:
    spot = torch.zeros(1, *shape, dtype=torch.uint8)
    middle = (shape[0] // 2, shape[1] // 2)
    spot[0, middle[0], middle[1] + 6] = 255
    augmentation = Augmentation(Augment(rotation_degrees=90))
    quarter = torch.tensor([[0.5, 0.5, 0.5, 1.0]])
    turned = augmentation.pixels(spot, quarter)[0]
    row, column = divmod(int(turned.argmax()), shape[1])
    assert (abs(row - middle[0]), column) == (6, middle[1])
    assert float(turned.max()) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("images", [IMAGES, COLOURS])
def test_a_shift_moves_by_a_share_of_the_side(images: Any) -> None:
    augmentation = Augmentation(Augment(shift=1 / 3))
    furthest = torch.tensor([[1.0, 0.5, 0.5, 0.5]]).expand(len(images), -1)
    moved = augmentation.pixels(images, furthest)
    assert torch.allclose(moved[:, :6], scale_pixels(images)[:, 3:], atol=1e-5)
    assert not moved[:, 6:].abs().gt(1e-5).any()


def test_the_draws_are_of_the_epoch_and_of_nothing_else() -> None:
    augment = Augment(crop_padding=2, rotation_degrees=10)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = _augmented(IMAGES, augment)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(first, _augmented(IMAGES, augment))
    assert not torch.equal(first, _augmented(IMAGES, augment, epoch=1))


@pytest.mark.usefixtures("without_export")
@pytest.mark.parametrize("steps", [1, 18, 19, 20])
def test_an_augmented_run_that_is_stopped_ends_with_the_same_bits(
    make_job: MakeJob, stop_after: Any, steps: int
) -> None:
    model = "hidden = [16]\n[augment]\ncrop_padding = 2\nhorizontal_flip = true\nrotation_degrees = 5\n"
    stopped, whole, plain = make_job(model=model), make_job(model=model), make_job()
    assert stopped.run(stop_after(steps)) == 0
    assert [stopped.run(), whole.run(), plain.run()] == [0, 0, 0]
    assert stopped.summary.weights_sha256 == whole.summary.weights_sha256
    assert whole.summary.weights_sha256 != plain.summary.weights_sha256


@pytest.mark.usefixtures("without_export")
def test_the_rows_that_are_held_out_are_not_augmented(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    class Watched(Augmentation):
        def pixels(self, images: Any, draws: Any) -> Any:
            seen.append(len(images))
            return super().pixels(images, draws)

    monkeypatch.setattr(learner, "Augmentation", Watched)
    job = make_job(model="[augment]\ncrop_padding = 2\n", rows=600, held_out=100, epochs=1)
    assert job.run() == 0
    assert sum(seen) == 600
