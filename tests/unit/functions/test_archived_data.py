"""Data of every format in archives: the dataset that the same files make where each is dropped alone."""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from collections.abc import Mapping

import pytest

from lehr import layout
from lehr.contracts.dataset import DatasetManifest
from lehr.errors import MalformedDataError
from lehr.lineage import files_of_run, read_lineage
from lehr_runtime.shards import read_shard
from tests.fakes import InMemoryObjectStore, InMemoryRegistry
from tests.hostile.drops import RefusedStart, sealed_drop
from tests.hostile.seeds import PACKERS, PROJECT, Seed, in_archive, seeds, zipped

PLAIN = {seed.name: seed for seed in seeds() if not seed.name.endswith(tuple(PACKERS))}


def rows_of(manifest: DatasetManifest, artifacts: InMemoryObjectStore) -> Counter[tuple[str, str]]:
    """How often each row is in each split. Rows of a table come in one order, so there a shard is one."""
    prefix = layout.datasets_prefix(PROJECT)
    found: Counter[tuple[str, str]] = Counter()
    for shard in manifest.shards:
        raw = artifacts.objects[prefix + shard.key]
        if manifest.of_table is not None:
            found[shard.split, hashlib.sha256(raw).hexdigest()] += 1
            continue
        tensors = read_shard(raw)
        for x, y in zip(tensors["x"], tensors["y"], strict=True):
            found[shard.split, hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()] += 1
    return found


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("name", PLAIN)
def test_what_is_in_an_archive_is_the_data_that_it_would_be_alone(name: str, kind: str) -> None:
    alone, alone_in = sealed_drop(PLAIN[name].recipe, PLAIN[name].files)
    packed = in_archive(PLAIN[name], kind)
    manifest, artifacts = sealed_drop(packed.recipe, packed.files)
    assert rows_of(manifest, artifacts) == rows_of(alone, alone_in)
    assert manifest.of_table == alone.of_table
    assert all(f"/all.{kind}!" in ref.key for ref in manifest.raw)


def table(files: Mapping[str, bytes], pattern: str = "*.zip") -> Seed:
    return Seed("csv", PLAIN["csv"].recipe.replace("part-*.csv", pattern), files)


def test_a_pattern_of_archives_means_all_files_in_them_and_one_behind_a_mark_some() -> None:
    (raw,) = PLAIN["csv"].files.values()
    files = {"a.zip": zipped({"2025/1.csv": raw, "2026/2.csv": raw}), "b.zip": zipped({"3.csv": raw})}
    for pattern, names in {
        "*.zip": ["a.zip!2025/1.csv", "a.zip!2026/2.csv", "b.zip!3.csv"],
        "a.zip!2026/*": ["a.zip!2026/2.csv"],
        "*.zip!*3.csv": ["b.zip!3.csv"],
    }.items():
        drop = table(files, pattern)
        manifest, _ = sealed_drop(drop.recipe, drop.files)
        assert [ref.key.removeprefix(f"incoming/{PROJECT}/") for ref in manifest.raw] == names


def test_a_row_in_an_archive_is_set_aside_with_archive_file_and_line() -> None:
    (raw,) = PLAIN["csv"].files.values()
    lines = raw.splitlines(keepends=True)
    lines[5] = b"1,2,3\n"
    drop = table({"a.zip": zipped({"x/1.csv.gz": gzip.compress(b"".join(lines))})})
    _, artifacts = sealed_drop(drop.recipe, drop.files)
    (kept,) = [raw for key, raw in artifacts.objects.items() if key.startswith("quarantine/")]
    assert b'"file":"a.zip!x/1.csv.gz","line":6' in kept


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (b"\xff\xfe1,2\n", r"a\.zip!1\.csv: is not UTF-8"),
        (b"", r"a\.zip!1\.csv: has no rows"),
        (b"\x1f\x8bno", r"a\.zip!1\.csv: is not a gzip file"),
    ],
)
def test_a_file_in_an_archive_is_refused_by_its_name(member: bytes, words: str) -> None:
    drop = table({"a.zip": zipped({"1.csv": member})})
    with pytest.raises(RefusedStart, match=words):
        sealed_drop(drop.recipe, drop.files)


def test_a_file_in_an_archive_whose_bytes_are_others_is_refused_when_it_is_read() -> None:
    (raw,) = PLAIN["csv"].files.values()
    packed = bytearray(zipped({"1.csv": raw, "2.csv": raw * 2}))
    packed[packed.index(b"PK\x01\x02") - 20] ^= 0xFF  # near the end of the second one's text
    drop = table({"a.zip": bytes(packed)})
    with pytest.raises(MalformedDataError, match=r"a\.zip!2\.csv: is damaged"):
        sealed_drop(drop.recipe, drop.files)


def test_an_object_that_is_called_as_a_file_in_an_archive_is_refused() -> None:
    (raw,) = PLAIN["csv"].files.values()
    drop = table({"a.zip": zipped({"1.csv": raw}), "a.zip!1.csv": raw})
    with pytest.raises(RefusedStart, match="is called as a file in an archive would be"):
        sealed_drop(drop.recipe, drop.files)


@pytest.mark.parametrize("name", ["csv", "png", "idx.gz", "masks"])
def test_the_lineage_of_data_in_an_archive_leads_to_the_archive(name: str) -> None:
    """Which is what there is to be looked for, or deleted."""
    packed, registry = in_archive(PLAIN[name], "zip"), InMemoryRegistry()
    _, artifacts = sealed_drop(packed.recipe, packed.files, registry)
    key, etag = f"incoming/{PROJECT}/all.zip", hashlib.md5(packed.files["all.zip"]).hexdigest()
    (raw,) = read_lineage(PROJECT, artifacts, registry).raw.values()
    (run,) = registry.run_records
    assert [one[:2] for one in raw] == [(key, etag)]
    assert files_of_run(*run, artifacts) == raw
