"""What benchmarks say about their measurements: percentiles, spreads, and whether a target is met."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.rig.events import Answer, assert_equal, binary_request, json_request, probabilities_of
from benchmarks.rig.figures import Target, finish, percentile, spread

ROW = np.arange(784, dtype=np.uint8).reshape(1, 28, 28)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("count", [1, 2, 99, 100, 101])
def test_a_percentile_is_the_nearest_rank(share: float, count: int) -> None:
    values = np.random.default_rng(count).permutation(count).astype(float).tolist()
    assert percentile(values, share) == np.percentile(values, share * 100, method="inverted_cdf")


def test_a_spread_is_the_median_between_the_extremes() -> None:
    found = spread([5.0, 1.0, 4.0])
    assert (found.median, found.min, found.max, found.n) == (4.0, 1.0, 5.0, 3)


def test_a_target_is_met_at_its_limit_and_never_without_a_measurement() -> None:
    assert Target("ratio", 0.6, 0.6).is_met
    assert not Target("ratio", 0.6, 0.61).is_met
    assert not Target("ratio", 0.6, None, "not installed").is_met
    assert not Target("ratio", 0.6, float("nan")).is_met


def test_the_last_line_of_a_benchmark_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    finish("name", {"machine": "one"}, {"wall_ms": spread([1.0, 2.0])}, [Target("ratio", 1.0, 2.0)], None)
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["results"]["wall_ms"] == {"median": 1.5, "min": 1.0, "max": 2.0, "n": 2}
    assert document["targets"] == [{"name": "ratio", "value": 2.0, "limit": 1.0, "met": False, "note": ""}]


def test_a_request_becomes_the_event_that_api_gateway_makes() -> None:
    event = json_request("mnist", ROW)
    assert event["routeKey"] == "POST /predict/{project}"
    assert event["pathParameters"] == {"project": "mnist"}
    assert json.loads(event["body"])["inputs"] == ROW.tolist()
    assert binary_request("mnist", "x", "probabilities", ROW)["isBase64Encoded"]


def test_answers_of_every_form_give_their_probabilities() -> None:
    expected = np.array([[0.25, 0.75]], dtype=np.float32)
    head = b'{"outputs":[]}'
    length = {"inference-header-content-length": str(len(head))}
    for answer in (
        Answer(200, {}, b'{"predictions": [{"probabilities": {"a": 0.25, "b": 0.75}}]}'),
        Answer(200, {}, b'{"outputs": [{"data": [0.25, 0.75]}]}'),
        Answer(200, {}, b'{"probabilities": [[0.25, 0.75]]}'),
        Answer(200, length, head + expected.tobytes()),
    ):
        assert (probabilities_of(answer, (1, 2)) == expected).all()
        assert_equal(answer, expected, "it")


def test_another_answer_is_refused() -> None:
    expected = np.array([[0.25, 0.75]], dtype=np.float32)
    with pytest.raises(AssertionError, match=r"it gives other probabilities, up to 0\.5 apart"):
        assert_equal(Answer(200, {}, b'{"probabilities": [[0.75, 0.25]]}'), expected, "it")
    with pytest.raises(ValueError, match="503"):
        assert_equal(Answer(503, {}, b"{}"), expected, "it")
