"""Each example trains to its figure, on its real data: a part of them in the quick form, all in the full one.

Data that is not in the repository is fetched by the example's fetch.py, as `.ci/run` does; without it the test is
skipped and says so.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lehr.idx import parse_header
from tests.whole_run import WholeRun

EXAMPLES = Path(__file__).parents[2] / "examples"
Files = dict[str, bytes]


@dataclass(frozen=True)
class Quick:
    """What the quick form changes of a recipe, line by line, and of its data, which may be that of another example."""

    changes: dict[str, str]
    shorten: Callable[[Files], Files] = lambda files: files
    data_of: str = ""


def first_rows(rows: int) -> Callable[[Files], Files]:
    """The first rows of every IDX file."""

    def shorten(files: Files) -> Files:
        return {name: _shortened(gzip.decompress(raw), rows, name) for name, raw in files.items()}

    return shorten


def _shortened(raw: bytes, rows: int, place: str) -> bytes:
    header = parse_header(raw, place=place)
    row = header.data_bytes // header.shape[0]
    kept = min(rows, header.shape[0])
    return raw[:4] + kept.to_bytes(4, "big") + raw[8 : header.offset] + raw[header.offset :][: kept * row]


def every_sixth(files: Files) -> Files:
    """A sixth of the files."""
    return dict(sorted(files.items())[::6])


QUICK = {
    "mnist": Quick({"epochs": "1", "min_accuracy": "0.94"}),
    "fashion-mnist": Quick(
        {"epochs": "2", "batch_size": "32", "channels": "[8, 16]", "min_accuracy": "0.80"},
        first_rows(10_000),
    ),
    "fashion-resnet": Quick(
        {
            "epochs": "2",
            "batch_size": "32",
            "learning_rate": "0.05",
            "min_accuracy": "0.65",
            "min_test_rows": "3000",
        },
        first_rows(3_000),
        data_of="fashion-mnist",
    ),
    "breast_cancer": Quick({}),
    "flights": Quick({"epochs": "1", "max_rmse": "25.0"}),
    "spoken-language": Quick(
        {
            "epochs": "8",
            "batch_size": "8",
            "channels": "[8, 16, 32]",
            "min_accuracy": "0.7",
            "min_test_rows": "50",
        },
        every_sixth,
    ),
}


@pytest.mark.parametrize("name", QUICK)
def test_an_example_trains_to_a_figure_on_a_part_of_its_data(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    quick = QUICK[name]
    record_property("judgement", judge(name, tmp_path, quick.changes, quick.shorten, quick.data_of))


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_an_example_trains_to_the_figure_of_its_gate(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("judgement", judge(name, tmp_path, {}, lambda files: files, QUICK[name].data_of))


def judge(
    name: str,
    root: Path,
    changes: dict[str, str],
    shorten: Callable[[Files], Files],
    data_of: str,
) -> str:
    """Train and judge; the decision in a sentence. Fails unless the model is promoted."""
    folder, owner = EXAMPLES / name, EXAMPLES / (data_of or name)
    files = {
        path.relative_to(owner / "data").as_posix(): path.read_bytes()
        for path in sorted((owner / "data").rglob("*"))
        if path.is_file() and path.name != "SHA256SUMS"
    }
    if not files:
        pytest.skip(f"no data: python {(owner / 'fetch.py').relative_to(EXAMPLES.parent)}")
    recipe = (folder / "lehr.toml").read_text()
    for key, value in changes.items():
        recipe, found = re.subn(rf"^{key} = .*$", f"{key} = {value}", recipe, flags=re.MULTILINE)
        assert found == 1, f"{name}: {key}"
    code = {path.name: path.read_bytes() for path in folder.glob("*.py")}
    judgement = WholeRun(recipe, shorten(files), root, code).decide()
    assert judgement.verdict == "promote", judgement.reason
    return judgement.reason
