"""A sweep's rows as a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from selfextend_viz.sweeps.rows import CellRow

__all__ = ["write_parquet"]


def write_parquet(rows: Sequence[CellRow], path: Path) -> Path:
    """Write rows beside the file, then rename: a reader sees a whole file or none. Returns the path.

    Raises
    ------
    ImportError
        If pyarrow is missing; the extra ``sweep`` brings it.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            'Parquet files need pyarrow, which is not installed; say pip install "selfextend-viz[sweep]"'
        ) from error
    whole, real, text = pyarrow.int64(), pyarrow.float64(), pyarrow.string()
    kinds = {"str": text, "bool": pyarrow.bool_(), "int": whole, "float": real, "tuple": pyarrow.list_(pyarrow.int8())}
    schema = pyarrow.schema(
        [(each.name, kinds[str(each.type).split(" | ")[0].split("[")[0]]) for each in fields(CellRow)]
    )
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        parquet.write_table(pyarrow.table(columns, schema=schema), beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
