"""The shape that is checked is the one that the schema describes: the same mutations are refused by both."""

import copy
from typing import Any

import jsonschema

from stages.exporting.lineage_file import opened
from stages.exporting.lineage_shape import shape_problem
from tests.stages.exporting.test_lineage_file import DATA, SCHEMA

ODD: list[Any] = [None, True, -1, 2.5, "x", "0" * 64, [], {"x": "y"}]


def places(value: Any) -> list[tuple[str | int, ...]]:
    """The path of each value in a JSON value; of lists, the first element alone."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    return [(key, *rest) for key, item in items for rest in [(), *places(item)]]


def test_a_lineage_of_another_kind_is_refused() -> None:
    document = opened(DATA)
    assert shape_problem(document, "export") == ""
    assert shape_problem(document, "copy").startswith("is no lineage of a copy that can be used: artifact: ")
    listed = {**document, "files": [{"name": "x", "size_bytes": "1", "sha256": 5}]}
    told = "is no lineage of an export that can be used: files.0.size_bytes: Input should be a valid integer"
    assert shape_problem(listed, "export") == f"{told}, and 1 more like it"


def test_the_shape_is_that_of_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    whole, num_refused = opened(DATA), 0
    whole |= {"artifacts": whole["artifacts"][-1:], "evaluated": []}
    paths = [path for path in places(whole) if "recipe" not in path[:-1]]
    for path in paths:
        for odd in ODD:
            document = copy.deepcopy(whole)
            at: Any = document
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = odd
            problem = shape_problem(document, "export")
            num_refused += bool(problem)
            assert bool(problem) == (not validator.is_valid(document)), (path, odd, problem)
    assert num_refused > len(paths)
