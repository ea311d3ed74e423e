"""Which mask belongs to which image: the one with the same name, but for folder and ending."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from lehr.errors import MismatchedDataError, MissingDataError
from lehr.file_formats import unpacked_name


def pair_masks(images: Sequence[str], masks: Sequence[str], place: str) -> dict[str, str]:
    """The mask of every image, by name.

    Of several masks of one name it is the one that shares the most leading folders with the image, as
    train/masks/7.png does with train/images/7.jpg. Raises MissingDataError for an image without a mask or a mask
    without an image, MismatchedDataError where two are as near, or a file is named as both.
    """
    if both := sorted(set(images) & set(masks)):
        raise MismatchedDataError(
            f"{both[0]} is named by data.masks and as an image",
            place=place,
            hint="let data.files and data.test_files match no mask",
        )
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for mask in masks:
        by_stem[_stem(mask)].append(mask)
    pairs = {image: _nearest(image, by_stem[_stem(image)], place) for image in images}
    owners: dict[str, str] = {}
    for image, mask in pairs.items():
        if mask in owners:
            raise MismatchedDataError(
                f"{owners[mask]} and {image} would both have the mask {mask}",
                place=place,
                hint="give each image a name of its own, and its mask the same",
            )
        owners[mask] = image
    if alone := sorted(set(masks) - set(owners)):
        raise MissingDataError(
            f"no image is called as the mask {alone[0]} is ({len(alone)} such masks)",
            place=place,
            hint="add the images, or let data.masks not match them",
        )
    return pairs


def _stem(name: str) -> str:
    return PurePosixPath(unpacked_name(name)).stem


def _nearest(image: str, masks: Sequence[str], place: str) -> str:
    if not masks:
        raise MissingDataError(
            f"{image} has no mask",
            place=place,
            hint=f"add a mask called {_stem(image)}.png that data.masks matches, or take the image away",
        )
    shared = [_shared_folders(image, mask) for mask in masks]
    nearest = [mask for mask, count in zip(masks, shared, strict=True) if count == max(shared)]
    if len(nearest) > 1:
        raise MismatchedDataError(
            f"{image} has two masks, {nearest[0]} and {nearest[1]}",
            place=place,
            hint="rename one of them and its image, or put each pair below a folder of its own",
        )
    return nearest[0]


def _shared_folders(one: str, other: str) -> int:
    count = 0
    folders = (unpacked_name(name).split("/")[:-1] for name in (one, other))
    for mine, theirs in zip(*folders, strict=False):
        if mine != theirs:
            break
        count += 1
    return count
