"""One store with two versions for the whole suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.rig.store import LocalStore
from tests.robustness.endpoint import Endpoint


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("store")
    store = LocalStore(folder)
    try:
        yield Endpoint(store, folder)
    finally:
        store.close()
