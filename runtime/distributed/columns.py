"""Batches of rows by columns, in the forms that Ray Data and Dask give: dicts of arrays, DataFrames, Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.text import quoted

Batch: TypeAlias = Any
"""A dict of columns, each an array or a list; a pandas DataFrame; or a pyarrow Table. None of the two is imported."""

Column: TypeAlias = NDArray[Any] | Sequence[Any]
"""A value for each row."""


def read_column(batch: Batch, name: str) -> list[Any]:
    """The values of a column as Python's own. Raises ValueError where there is no such column."""
    names = batch.column_names if _is_table(batch) else list(batch)
    if name not in names:
        raise ValueError(f"the rows have no column {quoted(name)}; there are {', '.join(map(str, names)) or 'none'}")
    column = batch[name]
    values = column.to_pylist() if _is_table(batch) else column.tolist() if hasattr(column, "tolist") else list(column)
    return [plain(value) for value in values]


def with_columns(batch: Batch, columns: Mapping[str, Column]) -> Batch:
    """The same rows with further columns, in place of those of the same names; the batch itself stays as it is."""
    if _is_table(batch):
        for name, column in columns.items():
            batch = batch.drop_columns([name]) if name in batch.column_names else batch
            batch = batch.append_column(name, [column.tolist() if isinstance(column, np.ndarray) else column])
        return batch
    if isinstance(batch, Mapping):
        return {**batch, **{name: _array(column) for name, column in columns.items()}}
    return batch.assign(**{name: _of_frame(column) for name, column in columns.items()})


def plain(value: Any) -> Any:
    """A value without arrays in it, and without the fields that another row has: Arrow gives None for those."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items() if each is not None}
    return value.item() if isinstance(value, np.generic) else value


def _is_table(batch: Batch) -> bool:
    return hasattr(batch, "column_names") and hasattr(batch, "append_column")


def _array(column: Column) -> NDArray[Any]:
    """A column as Ray's dicts have it; what is no array is of objects."""
    if isinstance(column, np.ndarray):
        return column
    array = np.empty(len(column), object)
    for i, value in enumerate(column):
        array[i] = value
    return array


def _of_frame(column: Column) -> NDArray[Any]:
    """A column as frames have it: of one dimension, so that a vector for each row is a list."""
    return _array(column.tolist() if isinstance(column, np.ndarray) and column.ndim > 1 else column)
