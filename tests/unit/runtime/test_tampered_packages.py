"""What is not as it was signed is never loaded, and never promoted: each reason names the file.

The quick form tries 300 changes, the full one 5,000 (`pytest -m slow tests/unit/runtime/test_tampered_packages.py -s`
prints what became of them). The negative controls are the same loader without its digests, and without a verifier.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aws_lambda_powertools import Logger

from functions.package_model.serving import prepare_serving
from lehr import layout, model_packages
from lehr.contracts.package import CARD_FILE, LINEAGE_FILE, MODEL_FILE, PACKAGE_FILE, WEIGHTS_FILE
from lehr.contracts.provenance import PROVENANCE_FILE, Envelope
from lehr.errors import ModelPackageError
from lehr.model_packages import check_package
from lehr_runtime import package_files
from lehr_runtime.packages import LoadedModel, load_package
from tests import tiny_models as models
from tests.fakes import InMemoryObjectStore
from tests.signing import LocalKey, sign_package

PROJECT = "mnist"
QUICK, FULL = 300, 5_000


def contents(seed: int) -> dict[str, bytes]:
    """The files of a package as one is published: a graph with weights, optimised, with golden rows, and documents."""
    rows = np.random.default_rng(seed).integers(0, 256, (8, *models.SHAPE), dtype=np.uint8)
    trained = models.files(seed)
    documents = {
        name: f"{name} of {seed}".encode() * 9 for name in (CARD_FILE, LINEAGE_FILE, "training.json")
    }
    weights = {WEIGHTS_FILE: models.weights(seed).tobytes()}
    return trained | prepare_serving(trained, rows, Logger(level="ERROR")) | documents | weights


@dataclass
class World:
    """Two signed versions of a project, one of another, and who signed them; `files` are those of a version."""

    key: LocalKey
    store: InMemoryObjectStore
    versions: list[str]
    other: str
    foreign: LocalKey = field(
        default_factory=lambda: LocalKey("arn:aws:kms:eu-central-1:999999999999:key/other")
    )

    def copied(self) -> InMemoryObjectStore:
        return InMemoryObjectStore(objects=self.store.objects)

    def files(self, version: str) -> list[str]:
        prefix = layout.model_prefix(PROJECT, version)
        return sorted(key.removeprefix(prefix) for key in self.store.objects if key.startswith(prefix))


@pytest.fixture(scope="module")
def world() -> World:
    key, store = LocalKey(), InMemoryObjectStore()
    made = {seed: contents(seed) for seed in (1, 2)}
    versions = [models.publish(store, PROJECT, made[seed]) for seed in (1, 2)]
    other = models.publish(store, "other", made[1])
    for version in versions:
        sign_package(store, PROJECT, version, key)
    sign_package(store, "other", other, key)
    return World(key, store, versions, other)


# Of a change: the store with it, the version to load, and the files of which one must be named.
Change = tuple[InMemoryObjectStore, str, set[str]]


def _changed(world: World, rng: random.Random, edit: Callable[[bytes], bytes | None]) -> Change:
    store, version = world.copied(), rng.choice(world.versions)
    name = rng.choice(world.files(version))
    key = layout.model_file_key(PROJECT, version, name)
    edited = edit(store.objects[key])
    if edited is None:
        del store.objects[key]
    else:
        store.objects[key] = edited
    return store, version, {name}


def flipped(world: World, rng: random.Random) -> Change:
    def flip(raw: bytes) -> bytes:
        position, bit = rng.randrange(len(raw)), rng.randrange(8)
        return raw[:position] + bytes([raw[position] ^ 1 << bit]) + raw[position + 1 :]

    return _changed(world, rng, flip)


def truncated(world: World, rng: random.Random) -> Change:
    return _changed(world, rng, lambda raw: raw[: rng.randrange(len(raw))])


def extended(world: World, rng: random.Random) -> Change:
    return _changed(world, rng, lambda raw: raw + rng.randbytes(1 + rng.randrange(64)))


def removed(world: World, rng: random.Random) -> Change:
    return _changed(world, rng, lambda raw: None)


def swapped_with_another_version(world: World, rng: random.Random) -> Change:
    store, (first, second) = world.copied(), rng.sample(world.versions, 2)

    def keys(name: str) -> tuple[str, str]:
        return layout.model_file_key(PROJECT, first, name), layout.model_file_key(PROJECT, second, name)

    differing = [name for name in world.files(first) if len({store.objects[key] for key in keys(name)}) == 2]
    name = rng.choice(differing)
    store.copy(*reversed(keys(name)))
    return store, first, {name}


def swapped_within(world: World, rng: random.Random) -> Change:
    store, version = world.copied(), rng.choice(world.versions)
    names = rng.sample(world.files(version), 2)
    first, second = (layout.model_file_key(PROJECT, version, name) for name in names)
    store.objects[first], store.objects[second] = store.objects[second], store.objects[first]
    return store, version, set(names)


def another_version_in_its_place(world: World, rng: random.Random) -> Change:
    store, (first, second) = world.copied(), rng.sample(world.versions, 2)
    for name in world.files(second):
        store.copy(layout.model_file_key(PROJECT, second, name), layout.model_file_key(PROJECT, first, name))
    return store, first, {PACKAGE_FILE}


def another_project_in_its_place(world: World, rng: random.Random) -> Change:
    store = world.copied()
    for name in world.files(world.versions[0]):
        store.copy(
            layout.model_file_key("other", world.other, name),
            layout.model_file_key(PROJECT, world.other, name),
        )
    return store, world.other, {PACKAGE_FILE}


def _forged(world: World, rng: random.Random) -> tuple[InMemoryObjectStore, str, str]:
    """A package of somebody who may write to models/ and to the registry, whole in itself; and what it was made of."""
    store, version = world.copied(), rng.choice(world.versions)
    content = models.files(rng.randrange(3, 1 << 30))
    return store, models.publish(store, PROJECT, content), version


def forged_unsigned(world: World, rng: random.Random) -> Change:
    store, version, _ = _forged(world, rng)
    return store, version, {PROVENANCE_FILE}


def forged_under_an_old_signature(world: World, rng: random.Random) -> Change:
    store, version, old = _forged(world, rng)
    store.copy(
        layout.model_file_key(PROJECT, old, PROVENANCE_FILE),
        layout.model_file_key(PROJECT, version, PROVENANCE_FILE),
    )
    return store, version, {PROVENANCE_FILE}


def forged_by_a_foreign_key(world: World, rng: random.Random) -> Change:
    store, version, _ = _forged(world, rng)
    sign_package(store, PROJECT, version, world.foreign)
    return store, version, {PROVENANCE_FILE}


def forged_by_a_foreign_key_of_the_same_name(world: World, rng: random.Random) -> Change:
    store, version, _ = _forged(world, rng)
    sign_package(store, PROJECT, version, LocalKey(world.key.key_id))
    return store, version, {PROVENANCE_FILE}


def forged_with_an_old_signature_over_a_new_statement(world: World, rng: random.Random) -> Change:
    store, version, old = _forged(world, rng)
    sign_package(store, PROJECT, version, world.foreign)
    key = layout.model_file_key(PROJECT, version, PROVENANCE_FILE)
    new = Envelope.from_json(store.objects[key])
    signed = Envelope.from_json(store.objects[layout.model_file_key(PROJECT, old, PROVENANCE_FILE)])
    store.objects[key] = Envelope(payload=new.payload, signatures=signed.signatures).to_json()
    return store, version, {PROVENANCE_FILE}


DAMAGE = (flipped, flipped, flipped, flipped, truncated, extended, removed)
SWAPS = (
    swapped_with_another_version,
    swapped_within,
    another_version_in_its_place,
    another_project_in_its_place,
)
FORGERIES = (
    forged_unsigned,
    forged_under_an_old_signature,
    forged_by_a_foreign_key,
    forged_by_a_foreign_key_of_the_same_name,
    forged_with_an_old_signature_over_a_new_statement,
)


def outcome(change: Change, world: World, folder: Path) -> str:
    """What became of a change: "refused" by the loader, or "not opened" by it and refused where all is checked."""
    store, version, names = change
    with pytest.raises(ModelPackageError) as promotion:
        check_package(store, PROJECT, version, world.key)
    assert any(name in str(promotion.value) for name in names), (names, promotion.value)
    loaded, reason = attempt(store, version, world, folder)
    if loaded is None:
        assert any(name in reason for name in names), (names, reason)
        return "refused"
    opened = {"signature.json", "golden.safetensors", PACKAGE_FILE, PROVENANCE_FILE}
    opened |= {name for name in loaded.package.files if name.startswith("serving.")}
    assert not names & opened, f"{names} was opened"
    return "not opened"


def attempt(
    store: InMemoryObjectStore, version: str, world: World, folder: Path
) -> tuple[LoadedModel | None, str]:
    """The model, or why it was not loaded."""
    try:
        return load_package(store, PROJECT, version, directory=folder, threads=1, verifier=world.key), ""
    except ModelPackageError as fault:
        return None, str(fault)


def try_all(count: int, world: World, folder: Path) -> Counter[str]:
    rng = random.Random(20)
    kinds = [*DAMAGE, *SWAPS, *FORGERIES]
    found: Counter[str] = Counter()
    for number in range(count):
        kind = kinds[number % len(kinds)]
        found[f"{kind.__name__}: {outcome(kind(world, rng), world, folder)}"] += 1
    for line, times in sorted(found.items()):
        print(f"{times:6,} {line}")
    return found


def test_what_is_as_it_was_signed_is_loaded_and_may_be_promoted(world: World, tmp_path: Path) -> None:
    for version in world.versions:
        check_package(world.store, PROJECT, version, world.key)
        model = load_package(world.store, PROJECT, version, directory=tmp_path, threads=1, verifier=world.key)
        assert model.graph == "serving"


def test_what_was_changed_is_never_loaded(world: World, tmp_path: Path) -> None:
    found = try_all(QUICK, world, tmp_path)
    assert sum(found.values()) == QUICK


@pytest.mark.slow
def test_what_was_changed_is_never_loaded_in_5000_changes(world: World, tmp_path: Path) -> None:
    found = try_all(FULL, world, tmp_path)
    assert sum(found.values()) == FULL


def test_every_bit_of_a_signature_counts(world: World) -> None:
    version = world.versions[0]
    key = layout.model_file_key(PROJECT, version, PROVENANCE_FILE)
    raw = world.store.objects[key]
    package, digest = model_packages.read_package(world.store, PROJECT, version)
    for position in range(len(raw)):
        for bit in range(8):
            changed = raw[:position] + bytes([raw[position] ^ 1 << bit]) + raw[position + 1 :]
            with pytest.raises(ModelPackageError, match=PROVENANCE_FILE):
                _check(changed, package, digest, world.key)


def _check(envelope: bytes, *known: Any) -> None:
    from lehr.provenance import check_provenance

    check_provenance(envelope, *known)


def test_control_without_digests_damage_is_loaded(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_files, "check_file", lambda *given: None)
    rng, loaded = random.Random(21), 0
    for _ in range(40):
        store = world.copied()
        version = world.versions[0]
        name = next(name for name in world.files(version) if name.startswith("serving."))
        key = layout.model_file_key(PROJECT, version, name)
        raw = store.objects[key]
        position = rng.randrange(len(raw))
        store.objects[key] = raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]
        loaded += attempt(store, version, world, tmp_path)[0] is not None
    print(f"without digests {loaded} of 40 flips in a graph were loaded")
    assert loaded > 20


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_control_without_a_verifier_a_forgery_is_loaded(
    forgery: Callable[[World, random.Random], Change], world: World, tmp_path: Path
) -> None:
    store, version, _ = forgery(world, random.Random(22))
    assert load_package(store, PROJECT, version, directory=tmp_path, threads=1).version == version
    check_package(store, PROJECT, version, None)


def test_no_file_of_a_forgery_is_opened_before_its_signature(world: World, tmp_path: Path) -> None:
    store, version, _ = forged_unsigned(world, random.Random(23))
    with pytest.raises(ModelPackageError, match="is not signed"):
        load_package(store, PROJECT, version, directory=tmp_path, threads=1, verifier=world.key)
    assert MODEL_FILE not in {key.rpartition("/")[2] for key in store.reads}
    assert list(tmp_path.iterdir()) == []
