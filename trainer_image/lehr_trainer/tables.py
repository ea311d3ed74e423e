"""Tables in training: rows become one float32 tensor, numbers first, then the codes of the categories.

A model of a table is `TableFeatures`, which knows means, spreads and embeddings, and a body behind it. So what a
number is divided by and which text is which row of an embedding are part of the module, and of the exported graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lehr.contracts.recipe_tables import Model
from lehr.contracts.tables import TableStatistics
from lehr.errors import DataError
from lehr_runtime.shards import open_shard
from lehr_runtime.tables import Inputs, Table, as_inputs, shard_values
from lehr_trainer.data import Examples
from lehr_trainer.errors import JobInputError
from lehr_trainer.models.custom import build_custom
from lehr_trainer.models.mlp import build_mlp

Tensor = Any
Module = Any
MAX_EMBEDDING = 50
# In spreads; a training row of n is within sqrt(n). What is asked for may be anything that float32 holds.
FARTHEST = 1e6


def load_table(shards: Sequence[Path], table: TableStatistics, *, device: Any) -> Examples:
    """Read `shards` in their order: inputs float32 [rows, columns]; labels int64 [rows], or standardised [rows, 1].

    Raises JobInputError for rows that the manifest does not describe.
    """
    width, labels = len(table.numbers) + len(table.categories), table.table.labels
    inputs = [np.empty((0, width), np.float32)]
    targets = [np.empty(0, np.uint8 if labels else np.float32)]
    for path in shards:
        arrays = open_shard(path)
        try:
            x = encode(arrays, table, place=path.name)
        except DataError as fault:
            raise JobInputError(fault.message, place=fault.place) from fault
        y = arrays["y"]
        if x.shape != (len(y), width) or y.dtype != targets[0].dtype:
            raise JobInputError(
                f"holds {list(x.shape)} for {len(y)} targets of {y.dtype}; the manifest says {width} columns",
                place=path.name,
            )
        if labels and len(y) and int(y.max()) >= len(labels):
            raise JobInputError(f"has label {int(y.max())} of {len(labels)}", place=path.name)
        inputs.append(x)
        targets.append(y)
    y = np.concatenate(targets)
    if labels:
        target = torch.from_numpy(y.astype(np.int64))
    else:
        target = torch.from_numpy(((y - table.target_mean) / table.target_std).astype(np.float32)[:, None])
    return Examples(torch.from_numpy(np.concatenate(inputs)).to(device), target.to(device))


def encode(arrays: dict[str, np.ndarray], table: TableStatistics, *, place: str) -> np.ndarray:
    """The rows of a shard as float32 [rows, columns], its own codes exchanged for those of the manifest."""
    numbers = arrays["x"]
    if not table.categories:
        return numbers
    columns = [numbers]
    for number, (values, column) in enumerate(
        zip(shard_values(arrays, place=place), table.categories, strict=True)
    ):
        codes = {value: code for code, value in enumerate(column.values, start=1)}
        known = np.array([*(codes.get(value, 0) for value in values), 0], dtype=np.float32)
        columns.append(known[arrays["categories"][:, number]][:, None])
    return np.concatenate(columns, axis=1)


def decode(x: np.ndarray, table: TableStatistics) -> Inputs:
    """The inverse of `encode`, as far as there is one: code 0 is a value that is missing."""
    numbers = x[:, : len(table.numbers)]
    categories = np.empty((len(x), len(table.categories)), dtype=object)
    for number, column in enumerate(table.categories):
        values = np.array(["", *column.values], dtype=object)
        categories[:, number] = values[x[:, len(table.numbers) + number].astype(np.int64)]
    return as_inputs(Table(np.ascontiguousarray(numbers), categories))


class TableFeatures(nn.Module):  # type: ignore[misc]
    """[rows, columns] to float32 features [rows, `width`]: numbers standardised, categories embedded.

    A missing number is the mean, and a feature of its own tells that it is missing, for the columns that lack some in
    training. What a category never was in training shares a row of its embedding with the missing.
    """

    def __init__(self, table: TableStatistics) -> None:
        super().__init__()
        self.numbers = len(table.numbers)
        self.register_buffer("mean", torch.tensor([column.mean for column in table.numbers]))
        self.register_buffer("std", torch.tensor([column.std or 1.0 for column in table.numbers]))
        lacking = [place for place, column in enumerate(table.numbers) if column.missing]
        self.register_buffer("lacking", torch.tensor(lacking, dtype=torch.int64), persistent=False)
        self.embeddings = nn.ModuleList(
            nn.Embedding(len(column.values) + 1, embedding_width(len(column.values) + 1))
            for column in table.categories
        )
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=0.05)
        self.width: int = (
            self.numbers + len(lacking) + sum(embedding.embedding_dim for embedding in self.embeddings)
        )

    def forward(self, x: Tensor) -> Tensor:
        numbers = x[:, : self.numbers]
        missing = torch.isnan(numbers)
        spreads = ((numbers - self.mean) / self.std).clamp(-FARTHEST, FARTHEST)
        scaled = torch.where(missing, torch.zeros_like(numbers), spreads)
        features = [scaled, missing.index_select(1, self.lacking).to(x.dtype)]
        for place, embedding in enumerate(self.embeddings):
            features.append(embedding(x[:, self.numbers + place].long()))
        return torch.cat(features, dim=1)


def embedding_width(values: int) -> int:
    """1.6 n^0.56, and MAX_EMBEDDING at most: https://docs.fast.ai/tabular.model.html, emb_sz_rule."""
    return min(MAX_EMBEDDING, int(1.6 * float(values) ** 0.56 + 0.5))


class TableModel(nn.Module):  # type: ignore[misc]
    """Features, then a body that gives logits [rows, labels] or standardised values [rows, 1]."""

    def __init__(self, features: TableFeatures, body: Module) -> None:
        super().__init__()
        self.features, self.body = features, body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.features(x))


def build_table_model(
    model: Model, table: TableStatistics, *, code_folder: Path, log: Callable[[str], None] = print
) -> Module:
    """The recipe's mlp, or the project's own module, behind the features. Raises as `build_model` does."""
    features = TableFeatures(table)
    shape, outputs = (features.width,), len(table.table.labels) or 1
    if model.name == "custom":
        body = build_custom(
            model.factory, input_shape=shape, classes=outputs, code_folder=code_folder, log=log
        )
    else:
        body = build_mlp(model, input_shape=shape, classes=outputs)
    return TableModel(features, body)
