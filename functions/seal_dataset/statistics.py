"""What a version's statistics say, out of the units' profiles; and of the data that the champion was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from lehr import layout
from lehr.contracts.dataset import DatasetManifest, Split
from lehr.contracts.package import LINEAGE_FILE, Lineage
from lehr.contracts.profile import (
    MAX_TOP_VALUES,
    CategoryStatistics,
    DatasetSamples,
    DatasetStatistics,
    Sample,
    UnitProfile,
    ValueCount,
)
from lehr.errors import ContractError
from lehr.ports import ModelRegistry, ObjectStore
from lehr_runtime.sketches import merge_sketches

SAMPLES_PER_LABEL = 4
MAX_SAMPLES = 80
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def describe_dataset(
    manifest: DatasetManifest, profiles: Sequence[UnitProfile], counts: Sequence[dict[str, dict[str, int]]]
) -> DatasetStatistics:
    """Of the version that `manifest` lists; `counts` are each unit's rows by category and value."""
    table = manifest.of_table
    hashed = table.table.hashed if table else frozenset()
    seen = [profile for profile in profiles if profile.rows]
    rows = sum(profile.rows for profile in seen)
    names = [sketch.name for sketch in seen[0].numbers] if seen else []
    targets = [profile.target for profile in seen if profile.target is not None]
    determined = {
        name: sum(profile.determined.get(name, 0.0) * profile.rows for profile in seen) / rows
        for name in (seen[0].determined if seen else {})
    }
    return DatasetStatistics(
        project=manifest.project,
        format=manifest.format,
        input_shape=manifest.input_shape,
        labels=manifest.labels,
        rows={split: manifest.rows(split) for split in SPLITS},
        class_counts={split: manifest.class_counts(split) for split in SPLITS} if manifest.labels else {},
        numbers=[
            merge_sketches([profile.numbers[place] for profile in seen]) for place, _ in enumerate(names)
        ],
        categories=[
            _category(name, [unit[name] for unit in counts], is_shown=name not in hashed)
            for name in (counts[0] if counts else {})
        ],
        determined={name: round(value, 6) for name, value in determined.items()},
        target=merge_sketches(targets) if targets else None,
    )


def choose_samples(manifest: DatasetManifest, profiles: Sequence[UnitProfile]) -> DatasetSamples:
    """A few training rows of each label (of a number to predict, the first few), in the labels' order."""
    table = manifest.of_table
    columns = [*table.table.named("number"), *table.table.named("category")] if table else []
    by_label: dict[str, list[Sample]] = {label: [] for label in manifest.labels}
    for sample in (sample for profile in profiles for sample in profile.samples):
        label = sample.label if table else manifest.labels[int(sample.label)]
        shown = by_label.setdefault(label if manifest.labels else "", [])
        if len(shown) < (SAMPLES_PER_LABEL if manifest.labels else 2 * SAMPLES_PER_LABEL):
            shown.append(msgspec.structs.replace(sample, label=label))
    samples = [sample for shown in by_label.values() for sample in shown]
    return DatasetSamples(columns=columns, samples=samples[:MAX_SAMPLES])


def champion_statistics(
    project: str, artifacts: ObjectStore, registry: ModelRegistry
) -> tuple[str, DatasetStatistics | None]:
    """The dataset version of the champion, and its statistics; empty and None of a project without one, or of a
    champion from before there were any."""
    alias = registry.alias(project)
    if alias is None:
        return "", None
    try:
        key = layout.model_file_key(project, alias.champion, LINEAGE_FILE)
        version = Lineage.from_json(artifacts.get(key)).dataset_version
        raw = artifacts.get(layout.dataset_statistics_key(project, version))
        return version, DatasetStatistics.from_json(raw)
    except (KeyError, ContractError):  # what is wrong with a champion is the evaluation's to say
        return "", None


def _category(name: str, parts: Sequence[dict[str, int]], *, is_shown: bool) -> CategoryStatistics:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part)
    missing = counts.pop("", 0)
    top = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MAX_TOP_VALUES]
    return CategoryStatistics(
        name=name,
        rows=counts.total(),
        missing=missing,
        distinct=len(counts),
        top=[ValueCount(value=value, rows=rows) for value, rows in top] if is_shown else [],
    )
