"""Rows streamed from memory-mapped shards are the rows of resident data, whatever is asked for and in which order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lehr_runtime.shards import write_shard
from lehr_trainer import streaming
from lehr_trainer.data import AnyExamples, Examples, load_examples
from lehr_trainer.streaming import StreamedExamples

MakeJob = Callable[..., Any]
ROWS = (70, 1, 0, 129)


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    random = np.random.default_rng(1)
    paths = []
    for number, rows in enumerate(ROWS):
        x = random.integers(0, 256, (rows, 5, 4), np.uint8)
        path = tmp_path / f"shard-{number}.safetensors"
        path.write_bytes(write_shard({"x": x, "y": random.integers(0, 3, rows).astype(np.uint8)}))
        paths.append(path)
    return paths


def load(shards: list[Path], residency: Any) -> AnyExamples:
    return load_examples(
        shards, input_shape=(5, 4), classes=3, device=torch.device("cpu"), residency=residency
    )


def assert_same(streamed: AnyExamples, resident: AnyExamples, rows: Any) -> None:
    for one, other in zip(streamed.batch(rows), resident.batch(rows), strict=True):
        assert one.dtype is other.dtype
        assert torch.equal(one, other)


def test_announced_batches_come_in_order_and_others_at_once(shards: list[Path]) -> None:
    streamed, resident = load(shards, "streamed"), load(shards, "device")
    assert isinstance(streamed, StreamedExamples)
    assert len(streamed) == len(resident) == sum(ROWS)
    order = torch.randperm(sum(ROWS)).split(17)
    streamed.read_ahead(order)
    for rows in order[:3]:
        assert_same(streamed, resident, rows)
    assert_same(streamed, resident, torch.tensor([199, 0, 70, 70]))  # announced nowhere
    for rows in order[3:]:
        assert_same(streamed, resident, rows)
    for first, last in ((0, 9), (60, 80), (190, 500), (0, 0)):
        assert all(
            torch.equal(one, other)
            for one, other in zip(streamed.span(first, last), resident.span(first, last), strict=True)
        )


def test_indices_of_streamed_rows_are_on_the_host_and_of_resident_ones_with_the_rows(
    shards: list[Path],
) -> None:
    """Indices on a GPU would make the thread that gathers, and the step, wait for it."""
    streamed = StreamedExamples(
        [np.zeros((4, 2, 2), np.uint8)], torch.zeros(4, dtype=torch.int64, device="meta")
    )
    assert streamed.index_device == torch.device("cpu")
    assert streamed._gather(torch.tensor([3, 1]))[0].shape == (2, 2, 2)
    assert load(shards, "device").index_device == torch.device("cpu")
    on_meta = Examples(torch.empty(4, 2, 2, device="meta"), torch.empty(4, device="meta"))
    assert on_meta.index_device.type == "meta"


def test_at_most_two_batches_are_gathered_before_they_are_asked_for(
    shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered: list[int] = []
    plain = StreamedExamples._gather

    def gather(self: StreamedExamples, rows: Any) -> Any:
        gathered.append(len(rows))
        return plain(self, rows)

    monkeypatch.setattr(StreamedExamples, "_gather", gather)
    streamed = load(shards, "streamed")
    streamed.read_ahead(torch.arange(200).split(10))
    for number, rows in enumerate(torch.arange(200).split(10)):
        streamed.batch(rows)
        assert len(gathered) <= number + 1 + streaming.READY
    assert gathered == [10] * 20, "each batch was gathered once"


@pytest.mark.usefixtures("without_export")
def test_training_on_streamed_rows_ends_with_the_same_bits(make_job: MakeJob) -> None:
    jobs = {residency: make_job(residency=residency, epochs=2) for residency in ("device", "streamed")}
    for job in jobs.values():
        assert job.run() == 0
    device, streamed = jobs["device"].summary, jobs["streamed"].summary
    assert streamed.weights_sha256 == device.weights_sha256
    assert [one.validation_loss for one in streamed.epochs] == [one.validation_loss for one in device.epochs]


@pytest.mark.parametrize(("free", "expected"), [(1999, StreamedExamples), (8000, Examples)])
def test_auto_streams_what_would_take_more_than_half_of_the_free_memory(
    shards: list[Path], monkeypatch: pytest.MonkeyPatch, free: int, expected: type
) -> None:
    monkeypatch.setattr(streaming, "free_host_memory", lambda: free)
    assert isinstance(load(shards, "auto"), expected)


def test_free_memory_is_what_the_containers_limit_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, used, memory = (tmp_path / name for name in ("limit", "used", "memory"))
    memory.write_text("MemTotal:  100 kB\nMemAvailable:   50 kB\n")
    for name, path in (("_CGROUP_LIMIT", limit), ("_CGROUP_USED", used), ("_MEMORY", memory)):
        monkeypatch.setattr(streaming, name, path)
    assert streaming.free_host_memory() == 50 * 1024
    used.write_text("1000\n")
    limit.write_text("max\n")
    assert streaming.free_host_memory() == 50 * 1024
    limit.write_text("5000\n")
    assert streaming.free_host_memory() == 4000
    memory.unlink()
    assert streaming.free_host_memory() > 1 << 30


@pytest.mark.usefixtures("without_export")
def test_rows_are_streamed_where_none_are_held_out(make_job: MakeJob) -> None:
    job = make_job(residency="streamed", epochs=1, held_out=0)
    assert job.run() == 0, job.failure


def test_processes_of_a_host_take_half_of_its_free_memory_together(
    shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "free_host_memory", lambda: 4 * 8000)
    kinds = [
        type(
            load_examples(shards, input_shape=(5, 4), classes=3, device=torch.device("cpu"), processes=count)
        )
        for count in (4, 5)
    ]
    assert kinds == [Examples, StreamedExamples]
