"""`lehr data lineage` and `lehr data forget` against buckets that keep versions."""

from __future__ import annotations

from typing import Any

import pytest

from lehr import layout
from lehr.aws.erasing import erase
from lehr.contracts.registry import RunRecord
from tests.fakes import NOW
from tests.integration.cli.calls import documents, run
from tests.lineages import PROJECT, World, raw


@pytest.fixture
def clinic(stack: Any) -> Any:
    """Of `a`, which was there twice with other bytes, d1 and m1 were made; d2 and m2, which serves, of b alone."""
    for bucket in (stack.data, stack.artifacts):
        stack.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    etags = [put(stack, stack.data, f"incoming/{PROJECT}/a", body) for body in (b"older", b"newer")]
    b = raw("b", put(stack, stack.data, f"incoming/{PROJECT}/b", b"b"))
    older, newer = (raw("a", etag) for etag in etags)
    world = World()
    world.registry = stack.registry
    world.dataset("d0", [older, b], ["of-older", "of-b"])
    world.dataset("d1", [newer, b], ["of-newer", "of-b"])
    world.dataset("d2", [b], ["of-b"])
    for number in range(3):
        world.model(f"m{number}", f"d{number}")
    world.run("failed", [newer])
    stack.registry.add_run(ran("failed", "failed"))
    for key, body in world.artifacts.objects.items():
        put(stack, stack.artifacts, key, body)
    put(stack, stack.artifacts, layout.project_head_key(PROJECT), b"{}")
    put(stack, stack.artifacts, "quarantine/clinic/failed/unit-00000.jsonl", b"{}")
    stack.registry.promote(PROJECT, "m2", run="r", generation=0)
    return stack


def ran(name: str, status: Any) -> RunRecord:
    return RunRecord(
        project=PROJECT,
        run=name,
        status=status,
        started_at=NOW,
        execution_arn="arn",
        code_sha="c",
        fingerprint="f",
    )


def put(stack: Any, bucket: str, key: str, body: bytes) -> str:
    etag: str = stack.s3.put_object(Bucket=bucket, Key=key, Body=body)["ETag"]
    return etag.strip('"')


def keys(stack: Any, bucket: str) -> set[str]:
    """Of all versions of all objects: what is really gone is in no version."""
    answer = stack.s3.list_object_versions(Bucket=bucket)
    return {entry["Key"] for name in ("Versions", "DeleteMarkers") for entry in answer.get(name, [])}


def test_a_model_is_followed_back_and_a_file_forward(clinic: Any) -> None:
    (told,) = documents(run("data", "lineage", PROJECT, "--json"))
    assert (told["model"], told["dataset"], told["files"]) == ("m2", "d2", ["incoming/clinic/b"])
    (told,) = documents(run("data", "lineage", PROJECT, "a", "--json"))
    assert (sorted(told["datasets"]), sorted(told["models"])) == (["d0", "d1"], ["m0", "m1"])
    shown = run("data", "lineage", PROJECT, "b").stdout
    assert "model m2  champion" in shown
    assert "dataset d0" in shown


def test_what_nobody_knows_is_told_with_what_is_near(clinic: Any) -> None:
    answer = run("data", "lineage", PROJECT, "bb")
    assert answer.exit_code == 2
    assert "there are b" in answer.stderr
    assert run("data", "lineage", PROJECT, "d").exit_code == 2


def test_nothing_is_deleted_without_yes(clinic: Any) -> None:
    before = keys(clinic, clinic.artifacts), keys(clinic, clinic.data)
    (told,) = documents(run("data", "forget", PROJECT, "a", "--json"))
    assert not told["is_done"]
    assert sorted(told["datasets"]) == ["d0", "d1"]
    assert (keys(clinic, clinic.artifacts), keys(clinic, clinic.data)) == before


def test_a_file_goes_with_all_that_was_made_of_it_and_nothing_else(clinic: Any) -> None:
    answer = run("data", "forget", PROJECT, "a", "--yes")
    assert answer.exit_code == 0, answer.stderr
    assert keys(clinic, clinic.data) == {"incoming/clinic/b"}
    assert keys(clinic, clinic.artifacts) == {
        "datasets/clinic/d2/manifest.json",
        "datasets/clinic/shards/of-b",
        "models/clinic/m2/lineage.json",
        layout.project_head_key(PROJECT),
    }
    (erasure,) = clinic.registry.erasures(PROJECT)
    assert (sorted(erasure.models), erasure.runs, len(erasure.files)) == (["m0", "m1"], ["failed"], 1)
    assert clinic.registry.run(PROJECT, "failed").is_erased
    assert clinic.registry.alias(PROJECT).champion == "m2"
    assert run("data", "forget", PROJECT, "a", "--yes").exit_code == 2  # there is nothing left of it


def test_only_what_a_file_was_before_goes_with_former(clinic: Any) -> None:
    assert run("data", "forget", PROJECT, "a", "--former", "--yes").exit_code == 0
    left = keys(clinic, clinic.artifacts)
    assert "datasets/clinic/d1/manifest.json" in left
    assert "runs/clinic/failed/plan.json" in left
    assert not any("older" in key or "/d0/" in key for key in left)
    assert clinic.s3.get_object(Bucket=clinic.data, Key="incoming/clinic/a")["Body"].read() == b"newer"
    versions = clinic.s3.list_object_versions(Bucket=clinic.data, Prefix="incoming/clinic/a")["Versions"]
    assert len(versions) == 1


def test_the_champion_is_only_deleted_where_that_is_said(clinic: Any) -> None:
    answer = run("data", "forget", PROJECT, "b", "--yes")
    assert answer.exit_code == 2
    assert "--retire-champion" in answer.stderr
    assert "models/clinic/m2/lineage.json" in keys(clinic, clinic.artifacts)
    assert run("data", "forget", PROJECT, "b", "--yes", "--retire-champion").exit_code == 0
    assert clinic.registry.alias(PROJECT) is None
    assert not any(key.startswith(("models/", "datasets/")) for key in keys(clinic, clinic.artifacts))


def test_an_erasure_that_was_cut_off_is_gone_on_with(clinic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def dies(*given: Any, **more: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return erase(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr("lehr_cli.lineage.erase", dies)
        answer = run("data", "forget", PROJECT, "a", "--yes")
    assert answer.exit_code == 130
    assert "the same command goes on" in answer.stderr
    assert run("data", "forget", PROJECT, "a", "--yes").exit_code == 0
    assert not any("/d1/" in key or "/m1/" in key for key in keys(clinic, clinic.artifacts))


def test_nothing_is_forgotten_while_a_run_goes_on(clinic: Any) -> None:
    clinic.registry.add_run(ran("busy", "running"))
    answer = run("data", "forget", PROJECT, "a", "--yes")
    assert answer.exit_code == 2
    assert "lehr stop busy" in answer.stderr
