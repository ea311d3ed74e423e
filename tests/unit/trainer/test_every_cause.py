"""Every cause of the catalogue is provoked: through the code that says it, or in the form in which AWS says it."""

from __future__ import annotations

from lehr.causes.catalogue import FAILURES
from tests.unit.cli import test_provoked_causes as ends
from tests.unit.functions import test_documented_causes as documented
from tests.unit.functions import test_provoked_causes as functions
from tests.unit.trainer import test_provoked_causes as trainer

THROUGH_CODE = functions.PROVOKED | trainer.PROVOKED | ends.PROVOKED
AS_DOCUMENTED = {name for name, *_ in (*documented.DOCUMENTED, *ends.DOCUMENTED)}
# Known by words of our own alone, each with the reason why.
OF_OUR_OWN_WORDS: dict[str, str] = {}


def test_no_cause_is_known_by_words_of_our_own_alone() -> None:
    names = {cause.name for cause in FAILURES}
    assert names >= THROUGH_CODE | AS_DOCUMENTED
    assert names - THROUGH_CODE - AS_DOCUMENTED == set(OF_OUR_OWN_WORDS)
