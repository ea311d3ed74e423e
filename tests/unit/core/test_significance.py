"""McNemar's test: exact, against scipy, and what 200 pairs of models do under it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from lehr.contracts.evaluation import ClassificationMetrics, EvaluationReport, PairedCounts
from lehr.contracts.gate_tables import Gate
from lehr.gate import decide
from lehr.significance import heads_at_least, mcnemar, two_sided

COUNTS = st.integers(0, 3000)


def pairs(only_candidate: int, only_champion: int, both: int = 500, neither: int = 50) -> PairedCounts:
    return PairedCounts(
        both=both, only_candidate=only_candidate, only_champion=only_champion, neither=neither
    )


@given(COUNTS, COUNTS)
def test_one_sided_probabilities_are_those_of_scipy(gained: int, lost: int) -> None:
    found = mcnemar(pairs(gained, lost))
    if gained + lost:
        greater, less = (
            binomtest(gained, gained + lost, alternative=side).pvalue for side in ("greater", "less")
        )
        assert found.p_gain == pytest.approx(greater, rel=1e-9, abs=1e-200)
        assert found.p_loss == pytest.approx(less, rel=1e-9, abs=1e-200)
        assert two_sided(gained, lost) == pytest.approx(
            binomtest(gained, gained + lost).pvalue, rel=1e-9, abs=1e-200
        )
    else:
        assert (found.p_gain, found.p_loss, two_sided(0, 0)) == (1.0, 1.0, 1.0)


@given(COUNTS, COUNTS)
def test_a_row_more_for_the_candidate_is_never_less_evidence(gained: int, lost: int) -> None:
    assert mcnemar(pairs(gained + 1, lost)).p_gain <= mcnemar(pairs(gained, lost)).p_gain
    assert mcnemar(pairs(gained + 1, lost)).p_loss >= mcnemar(pairs(gained, lost)).p_loss - 1e-12


@pytest.mark.parametrize(("heads", "tosses"), [(-1, 3), (4, 3)])
def test_more_heads_than_tosses_are_refused(heads: int, tosses: int) -> None:
    with pytest.raises(ValueError, match="heads"):
        heads_at_least(heads, tosses)


def test_a_million_tosses_are_summed_too() -> None:
    assert heads_at_least(501_000, 1_000_000) == pytest.approx(binom.sf(500_999, 1_000_000, 0.5), rel=1e-6)


def test_a_gain_that_is_not_significant_says_how_many_rows_would_tell() -> None:
    told = mcnemar(pairs(30, 20, both=900, neither=50))
    assert told.p_gain > 0.05
    assert told.rows_to_tell is not None
    random = np.random.default_rng(5)
    ways = random.multinomial(told.rows_to_tell, [0.95, 0.03, 0.02], size=400)
    told_apart = np.mean([heads_at_least(int(one), int(one + other)) <= 0.05 for _, one, other in ways])
    # The formula is of the normal distribution, the test exact and so a little stricter.
    assert 0.7 < told_apart < 0.9
    assert mcnemar(pairs(20, 30)).rows_to_tell is None


class Judged:
    """Pairs of models that are right on rows with known probabilities, each decided by a gate."""

    def __init__(self, truth: float, pairs: int, *, rows: int = 2000, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.reports = []
        for _ in range(pairs):
            # Both fail on hard rows alike: of models of 90 % a tenth of the rows tells them apart.
            counts = random.multinomial(rows, [0.85, 0.05 + truth / 2, 0.05 - truth / 2, 0.05]).tolist()
            paired = PairedCounts(
                both=counts[0], only_candidate=counts[1], only_champion=counts[2], neither=counts[3]
            )
            self.reports.append(
                EvaluationReport(
                    project="p",
                    run="r",
                    dataset_version="d",
                    candidate_version="new",
                    champion_version="old",
                    candidate=metrics((counts[0] + counts[1]) / rows, rows),
                    champion=metrics((counts[0] + counts[2]) / rows, rows),
                    comparison=mcnemar(paired),
                )
            )

    def promoted(self, policy: Gate) -> float:
        return float(np.mean([decide(report, policy).verdict == "promote" for report in self.reports]))


def metrics(accuracy: float, rows: int) -> ClassificationMetrics:
    return ClassificationMetrics(
        rows=rows,
        accuracy=accuracy,
        macro_f1=accuracy,
        log_loss=0.3,
        expected_calibration_error=0.02,
        majority_share=0.5,
        rows_per_second=1.0,
        confusion=[],
        classes=[],
    )


def test_models_that_are_no_better_are_seldom_promoted_and_better_ones_nearly_always() -> None:
    """200 pairs of each difference, on 2,000 rows. Two points are seen four times in five."""
    worse, equal, better, far = (Judged(truth, 200) for truth in (-0.01, 0.0, 0.02, 0.04))
    assert worse.promoted(Gate()) <= 0.01
    assert equal.promoted(Gate()) <= 0.10  # 5 % expected; above 10 % in one of a thousand seeds
    assert 0.75 <= better.promoted(Gate()) <= 0.98
    assert far.promoted(Gate()) == 1.0


def test_a_gate_that_only_measures_promotes_every_other_equal() -> None:
    """The negative control: without evidence, chance decides."""
    equal, worse = Judged(0.0, 200), Judged(-0.01, 200)
    measured = Gate(evidence="measured")
    assert 0.35 < equal.promoted(measured) < 0.65
    assert worse.promoted(measured) > worse.promoted(Gate())


@pytest.mark.slow
def test_of_equals_no_more_are_promoted_than_the_level_says() -> None:
    for level in (0.01, 0.05, 0.2):
        promoted = Judged(0.0, 4000, seed=7).promoted(Gate(significance=level))
        assert promoted <= level + 3 * (level * (1 - level) / 4000) ** 0.5
        assert promoted >= level / 3
