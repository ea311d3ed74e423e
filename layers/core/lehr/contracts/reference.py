"""reference.json of a model package: what the training data looked like, in the bins that the endpoint counts in.

It lies in the package so that each model version is compared with its own data, and so that the endpoint needs no
other file to know the bins. Values of a category that is personal data are in none of it.
"""

from __future__ import annotations

from typing import Literal

from lehr.contracts.document import Document, Part

# At most as many bins for a number, and columns of each kind.
MAX_BINS = 16
MAX_COLUMNS = 128


class NumberReference(Part, frozen=True, kw_only=True):
    """A number in bins: bin i has edges[i - 1] <= x < edges[i], the first and the last are open.

    Below edge i lies a share of the `rows` that is from `low[i]` to `high[i]`: the training data's quantiles are a
    sketch, which says no more.
    """

    name: str
    edges: list[float]
    low: list[float]
    high: list[float]
    rows: int
    missing: int


class CategoryReference(Part, frozen=True, kw_only=True):
    """The commonest `values` of a category with their `counts` of training rows; `other` have another value."""

    name: str
    values: list[str]
    counts: list[int]
    other: int
    missing: int


class ModelReference(Document, frozen=True, kw_only=True):
    """Numbers and categories in the order of the signature's columns; an image or a recording is one number."""

    schema: Literal[1] = 1
    numbers: list[NumberReference]
    categories: list[CategoryReference]
