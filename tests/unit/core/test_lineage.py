"""From raw files to models and back, and what has to go with a file."""

from __future__ import annotations

import msgspec
import pytest

from lehr import layout
from lehr.contracts.file_units import FileExample, FileList, StoredFile
from lehr.erasure import plan_erasure
from lehr.lineage import files_of_run, read_lineage
from tests.lineages import PROJECT, World, raw


@pytest.fixture
def world() -> World:
    """A file a in d1 and d2, a file b in d2 alone; m2 was fine-tuned from m1, and m4 from m2 on other data."""
    world = World()
    world.dataset("d1", [raw("a")], ["of-a"])
    world.dataset("d2", [raw("a"), raw("b")], ["of-a", "of-b"])
    world.dataset("d3", [raw("c")], ["of-c"], listed=True)
    world.model("m1", "d1")
    world.model("m2", "d2", initial="m1")
    world.model("m3", "d3")
    world.model("m4", "d3", initial="m2")
    return world


def test_models_of_a_file_are_those_of_its_versions_and_those_that_started_from_them(world: World) -> None:
    known = read_lineage(PROJECT, world.artifacts, world.registry)
    assert sorted(known.datasets_of([raw("a")])) == ["d1", "d2"]
    assert known.models_of(known.datasets_of([raw("a")])) == ["m4", "m2", "m1"]
    assert known.models_of(known.datasets_of([raw("b")])) == ["m4", "m2"]
    assert known.models_of(known.datasets_of([raw("c")])) == ["m4", "m3"]
    assert known.datasets_of([raw("a", etag="2")]) == []


def test_ancestors_of_a_model_go_back_to_the_one_that_began_at_random(world: World) -> None:
    known = read_lineage(PROJECT, world.artifacts, world.registry)
    assert known.ancestors("m4") == ["m2", "m1"]
    assert known.ancestors("m3") == []


def test_what_goes_with_a_file_spares_what_other_versions_have(world: World) -> None:
    world.serve("m1")
    known = read_lineage(PROJECT, world.artifacts, world.registry)
    erasure = plan_erasure([raw("b")], known, PROJECT, world.artifacts)
    assert erasure.datasets == ["d2"]
    assert erasure.models == ["m4", "m2"]
    assert erasure.shared == ["datasets/clinic/shards/of-b"]
    assert not erasure.is_serving


def test_a_list_of_files_goes_with_its_version(world: World) -> None:
    world.serve("m4")
    erasure = plan_erasure(
        [raw("c")], read_lineage(PROJECT, world.artifacts, world.registry), PROJECT, world.artifacts
    )
    assert erasure.shared == ["datasets/clinic/lists/d3", "datasets/clinic/shards/of-c"]
    assert erasure.is_serving


def test_runs_that_read_a_file_go_and_those_that_cannot_say_it(world: World) -> None:
    world.run("failed", [raw("b")])
    world.run("other", [raw("c")])
    world.artifacts.put("runs/clinic/expired/recipe.json", b"{}")
    known = read_lineage(PROJECT, world.artifacts, world.registry)
    erasure = plan_erasure([raw("b")], known, PROJECT, world.artifacts)
    assert (erasure.runs, erasure.unknown_runs) == (["failed"], ["expired"])


def test_what_leads_to_the_rest_goes_last(world: World) -> None:
    world.run("r", [raw("a")])
    known = read_lineage(PROJECT, world.artifacts, world.registry)
    erasure = plan_erasure([raw("a")], known, PROJECT, world.artifacts)
    order = [prefix.split("/")[0] for prefix, _ in erasure.prefixes()]
    assert order == ["models"] * 3 + ["quarantine", "runs"] + ["datasets"] * 4
    # A model that started from another goes before it.
    assert [prefix for prefix, _ in erasure.prefixes()][:3] == [
        f"models/clinic/{m}/" for m in ("m4", "m2", "m1")
    ]
    assert [prefix for prefix, last in erasure.prefixes() if last == layout.MANIFEST] == [
        f"datasets/clinic/{version}/" for version in erasure.datasets
    ]


def test_a_run_says_what_it_reads_in_whatever_kind_of_plan() -> None:
    world = World()
    masked = FileExample(
        file=StoredFile(key="incoming/clinic/i.png", etag="1", bytes=1),
        mask=StoredFile(key="incoming/clinic/m.png", etag="2", bytes=1),
    )
    world.artifacts.put("runs/clinic/r/lists/list-0", FileList(examples=[masked]).to_json())
    plan = [{"kind": "files", "list_key": "runs/clinic/r/lists/list-0"}]
    world.artifacts.put(layout.plan_key(PROJECT, "r"), msgspec.json.encode(plan))
    found = files_of_run(PROJECT, "r", world.artifacts)
    assert [file.key for file in found or ()] == ["incoming/clinic/i.png", "incoming/clinic/m.png"]
    del world.artifacts.objects["runs/clinic/r/lists/list-0"]
    assert files_of_run(PROJECT, "r", world.artifacts) is None


def test_digests_prove_a_key_without_naming_it(world: World) -> None:
    known = read_lineage(PROJECT, world.artifacts, world.registry)
    erasure = plan_erasure([raw("a"), raw("a", "2")], known, PROJECT, world.artifacts)
    (digest,) = erasure.digests
    assert len(digest) == 64
    assert "incoming" not in digest
