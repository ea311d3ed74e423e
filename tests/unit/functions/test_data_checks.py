"""The checks of [checks] on whole datasets."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from lehr import layout
from lehr.contracts.package import LINEAGE_FILE, Lineage
from lehr.contracts.registry import Alias
from lehr.errors import MismatchedDataError, RejectedDataError
from lehr_runtime.shards import read_shard
from tests.fakes import NOW, InMemoryRegistry
from tests.sealed import IMAGES, RUN, TABLE, Sealed, idx, images, of_images, of_table, table


def test_an_image_of_the_test_is_set_aside_from_training_with_its_place_and_the_sums_are_without_it() -> None:
    arrays = images()
    arrays["x"][17], arrays["x"][203] = arrays["tx"][5], arrays["tx"][9]
    leaking = of_images(arrays)
    assert leaking.manifest.rows("test") == 120
    assert leaking.manifest.rows("train") + leaking.manifest.rows("validation") == 298
    assert leaking.check("overlap").verdict == "quarantined"
    assert sorted((line["file"], line["line"]) for line in leaking.quarantined()) == [("x", 17), ("x", 203)]
    assert {line["reason"] for line in leaking.quarantined()} == {
        "the same as tx 5, which is in the test split",
        "the same as tx 9, which is in the test split",
    }
    training = leaking.images("train")
    assert leaking.manifest.mean == pytest.approx(training.mean())
    assert leaking.manifest.std == pytest.approx(training.std())
    assert leaking.statistics.numbers[0].rows == len(training)
    assert leaking.checks.set_aside == 2


def test_data_without_a_repeated_row_is_the_version_that_it_would_be_without_checks() -> None:
    arrays = images()
    clean = of_images(arrays)
    assert clean.check("overlap").verdict == clean.check("duplicates").verdict == "passed"
    assert clean.version == of_images(arrays, '[checks]\noverlap = "warn"\n').version
    assert not clean.quarantined()


def test_overlap_that_is_only_warned_of_stays_and_one_that_is_rejected_refuses_the_run_by_name() -> None:
    arrays = images()
    arrays["x"][17] = arrays["tx"][5]
    warned = of_images(arrays, '[checks]\noverlap = "warn"\n')
    assert warned.manifest.rows("train") + warned.manifest.rows("validation") == 300
    assert warned.check("overlap").verdict == "warned"
    refused = Sealed(
        IMAGES + '[checks]\noverlap = "reject"\n', {name: idx(array) for name, array in arrays.items()}
    )
    with pytest.raises(RejectedDataError, match=r"overlap: 1 row of .*x 17: the same as tx 5.*\[checks\]"):
        refused.seal()
    assert refused.check("overlap").verdict == "rejected"
    assert refused.checks.version == ""
    assert not any(key.startswith("datasets/") for key in refused.artifacts.objects)


def test_training_on_the_test_itself_is_refused_rather_than_left_without_rows() -> None:
    arrays = images()
    arrays["x"], arrays["y"] = arrays["tx"], arrays["ty"]
    with pytest.raises(RejectedDataError, match="training rows would be set aside"):
        of_images(arrays)


def test_the_first_of_equal_rows_is_kept_in_each_split() -> None:
    arrays = images()
    arrays["x"][200] = arrays["x"][100] = arrays["x"][3]
    arrays["tx"][7] = arrays["tx"][6]
    warned = of_images(arrays)
    assert warned.check("duplicates").verdict == "warned"
    once = of_images(arrays, '[checks]\nduplicates = "quarantine"\n')
    assert once.manifest.rows("test") == 119
    assert once.checks.set_aside == 3
    kept = np.concatenate([once.images("train"), once.images("validation")])
    assert sum(np.array_equal(image, arrays["x"][3]) for image in kept) == 1


def test_a_row_of_the_test_file_is_set_aside_however_its_numbers_are_written() -> None:
    train, test = table(400, 1), table(150, 2)
    cells = test[11].strip().split(",")
    train[31] = f"{cells[0]}00,{cells[1]}.0,{cells[2]} ,{cells[3]}\n"
    leaking = of_table(train, test)
    assert [(line["file"], line["line"], line["reason"]) for line in leaking.quarantined()] == [
        ("part-1.csv", 32, "the same as test.csv 12, which is in the test split")
    ]
    clean = of_table(train[:31] + train[32:], test)
    assert leaking.statistics == clean.statistics
    left, right = leaking.manifest.of_table, clean.manifest.of_table
    assert left
    assert right
    assert [one.mean for one in left.numbers] == pytest.approx([one.mean for one in right.numbers])
    assert left.categories == right.categories


def test_a_value_out_of_its_range_is_set_aside_counted_or_refused_as_the_policy_says() -> None:
    train, test = table(400, 1), table(150, 2)
    train[5] = "-3,120,A,cheap\n"
    ranges = "[checks.ranges]\nkm = { min = 0 }\nseats = { min = 1, max = 900 }\n"
    aside = of_table(train, test, ranges)
    assert aside.check("out_of_range").verdict == "quarantined"
    line = json.loads(aside.document(layout.quarantine_key("fares", RUN, 0)))
    assert line == {"file": "part-1.csv", "line": 6, "reason": "km: -3 is outside the range from 0"}
    assert [one.rows for one in aside.checks.refused] == [1]
    warned = of_table(train, test, '[checks]\nout_of_range = "warn"\n' + ranges)
    assert warned.check("out_of_range").details == ["km: 1 value"]
    assert sum(warned.manifest.rows(split) for split in ("train", "validation")) == 400
    with pytest.raises(RejectedDataError, match="out_of_range: 1 value outside"):
        of_table(train, test, '[checks]\nout_of_range = "reject"\n' + ranges)


def test_a_range_of_a_column_that_is_not_there_is_refused_with_a_near_name() -> None:
    with pytest.raises(MismatchedDataError, match=r"'seat'.*did you mean 'seats'"):
        of_table(table(50, 1), table(20, 2), "[checks.ranges]\nseat = { min = 0 }\n")


def test_what_is_missing_constant_or_tells_the_target_alone_is_found_by_column() -> None:
    header = "km,code,gap,still,class\n"
    lines = [header]
    random = np.random.default_rng(3)
    for _ in range(400):
        dear = random.random() < 0.3
        gap = "" if random.random() < 0.8 else "1.5"
        lines.append(f"{random.normal():.9f},{7 if dear else 2},{gap},4,{'dear' if dear else 'cheap'}\n")
    found = of_table(lines, [header, *lines[1:40]], '[checks]\noverlap = "warn"\n')
    assert found.check("missing").details[0].startswith("gap: ")
    assert found.check("constant").details == ["still: one value in all training rows"]
    assert found.check("leakage").details == [
        "code alone tells 100.0% of the target: is it known when a prediction is asked for?"
    ]
    assert {one.check for one in found.checks.results if one.verdict == "warned"} == {
        *("overlap", "missing", "constant", "leakage")
    }


def test_a_rare_label_and_few_rows_are_warned_of() -> None:
    arrays = images()
    arrays["y"][:] = 0
    arrays["y"][:5], arrays["y"][5:60] = 1, 2
    few = of_images(arrays)
    count = few.manifest.class_counts("train")[1]
    rows = few.manifest.rows("train")
    told = f"b: {count} of {rows} training rows, {count / (rows / 3):.1%} of an even share"
    assert few.check("balance").details == [told]
    assert few.check("size").details == [f"b: {count} training rows"]


def test_labels_that_moved_since_the_champions_data_are_told_with_both_shares() -> None:
    test = table(150, 2)
    old = of_table(table(400, 1), test)
    assert old.check("label_drift").verdict == "not_checked"
    registry = InMemoryRegistry()
    registry.aliases["fares"] = Alias(project="fares", champion="m1", generation=1, owner=RUN, updated_at=NOW)
    dear = [
        line.replace("cheap", "dear") if number % 2 else line for number, line in enumerate(table(400, 1))
    ]
    files = {"part-1.csv": "".join(dear).encode(), "test.csv": "".join(test).encode()}
    new = Sealed(TABLE, files, registry)
    lineage = Lineage(
        project="fares",
        run=RUN,
        trial="0",
        dataset_version=old.version,
        code_sha="c",
        training_job="j",
        image="i",
        instance_type="t",
        hyperparameters={},
    )
    new.artifacts.put(layout.model_file_key("fares", "m1", LINEAGE_FILE), lineage.to_json())
    key = layout.dataset_statistics_key("fares", old.version)
    new.artifacts.put(key, old.document(key))
    new.seal()
    assert new.checks.compared_with == old.version
    assert new.check("schema_drift").verdict == "passed"
    drift = new.check("label_drift")
    assert drift.verdict == "warned"
    shares = old.statistics.class_fractions(), new.statistics.class_fractions()
    assert float(drift.observed) == pytest.approx(abs(shares[0]["cheap"] - shares[1]["cheap"]), rel=1e-3)
    assert drift.details[0].startswith(f"cheap: {shares[0]['cheap']:.2%}, now {shares[1]['cheap']:.2%}")


def test_statistics_are_those_of_numpy_over_the_training_rows() -> None:
    sealed = of_table(table(900, 1), table(150, 2))
    prefix = layout.datasets_prefix("fares")
    shards = [one for one in sealed.manifest.shards if one.split == "train"]
    tensors = [read_shard(sealed.document(prefix + one.key)) for one in shards]
    km = np.concatenate([one["x"][:, 0] for one in tensors]).astype(np.float64)
    found = sealed.statistics.numbers[0]
    assert (found.name, found.rows, found.missing) == ("km", len(km), 0)
    assert [found.mean, found.std, found.min, found.max] == pytest.approx(
        [km.mean(), km.std(), km.min(), km.max()]
    )
    assert np.allclose(found.quantiles, np.quantile(km, np.linspace(0, 1, 65)), atol=6)
    carrier = sealed.statistics.categories[0]
    assert (carrier.rows, carrier.distinct, carrier.missing) == (len(km), 3, 0)
    assert sum(value.rows for value in carrier.top) == len(km)


def test_samples_are_training_rows_of_each_label_and_a_picture_is_the_images_own_pixels() -> None:
    sealed = of_images(images())
    samples = sealed.samples.samples
    assert {sample.label for sample in samples} == {"a", "b", "c"}
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(samples[0].png))))
    assert any(np.array_equal(picture, image) for image in sealed.images("train"))


def test_the_statistics_stand_before_the_manifest_and_are_the_same_when_sealed_again() -> None:
    sealed = of_images(images())
    written = sealed.artifacts.writes
    manifest = layout.dataset_manifest_key("shapes", sealed.version)
    key = layout.dataset_statistics_key("shapes", sealed.version)
    assert written.index(key) < written.index(manifest)
    before = sealed.document(key)
    sealed.seal()
    assert sealed.document(key) == before


def test_more_rows_than_memory_holds_are_not_compared_and_the_checks_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("functions.seal_dataset.screening.MAX_ROWS_COMPARED", 419)
    arrays = images()
    arrays["x"][17] = arrays["tx"][5]
    large = of_images(arrays)
    assert large.check("overlap").verdict == "not_checked"
    assert large.check("overlap").observed == "more than 419 rows are not compared"
    assert large.check("balance").verdict == "passed"
