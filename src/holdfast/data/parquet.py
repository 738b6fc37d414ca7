"""Write the rows of an export as Parquet with a schema that does not depend on the contents of the first rows.

The schema's metadata holds the features in the format of `datasets`, so that the library reads the arguments of a call
as `Json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from holdfast.core.extras import needs

_TURNS = ("messages", "prompt", "completion", "chosen", "rejected")
_CALL = {"type": str, "id": str, "function": {"name": str, "arguments": json}}
_TURN = {"role": str, "content": str, "reasoning_content": str, "tool_calls": [_CALL], "tool_call_id": str}
_CHUNK = 1_000


def write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Write rows that all have the fields of the first row; writes no file if there are none.

    Returns:
        The number of rows.

    Raises:
        PrerequisiteError: pyarrow is not installed.
    """
    with needs("teach"):
        import pyarrow as arrow  # type: ignore[import-untyped]
        from pyarrow import parquet
    first = list(islice(rows, _CHUNK))
    if not first:
        return 0
    shape = {name: [_TURN] if name in _TURNS else str for name in first[0]}
    features = {name: _feature(part) for name, part in shape.items()}
    # Arrow cannot build nested JSON columns from Python objects, but can cast text to them.
    plain = arrow.schema([(name, _type(arrow, part, arrow.string())) for name, part in shape.items()])
    schema = arrow.schema([(name, _type(arrow, part, arrow.json_())) for name, part in shape.items()])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    count = 0
    with parquet.ParquetWriter(path, schema) as writer:
        chunk: Sequence[dict[str, Any]] = first
        while chunk:
            writer.write_table(arrow.Table.from_pylist([_packed(row) for row in chunk], schema=plain).cast(schema))
            count += len(chunk)
            chunk = list(islice(rows, _CHUNK))
    return count


def _type(arrow: Any, shape: Any, arguments: Any) -> Any:
    if isinstance(shape, list):
        return arrow.list_(_type(arrow, shape[0], arguments))
    if isinstance(shape, dict):
        return arrow.struct([(name, _type(arrow, part, arguments)) for name, part in shape.items()])
    return arguments if shape is json else arrow.string()


def _feature(shape: Any) -> dict[str, Any]:
    if isinstance(shape, list):
        return {"feature": _feature(shape[0]), "_type": "List"}
    if isinstance(shape, dict):
        return {name: _feature(part) for name, part in shape.items()}
    return {"_type": "Json"} if shape is json else {"dtype": "string", "_type": "Value"}


def _packed(value: Any) -> Any:
    """Return the value with the arguments of calls converted to JSON text."""
    if isinstance(value, list):
        return [_packed(part) for part in value]
    if isinstance(value, dict):
        return {
            name: json.dumps(part, ensure_ascii=False) if name == "arguments" else _packed(part)
            for name, part in value.items()
        }
    return value
