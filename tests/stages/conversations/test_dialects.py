"""A whole table is found to be in one dialect, or refused once with what was found and what was wanted."""

from typing import Any

import pytest

from stages.contract import StageError
from stages.conversations.dialects import Dialect, find_dialect


def table(*fields: str) -> list[Any]:
    return [{"messages": [dict.fromkeys(fields, "a")]}]


@pytest.mark.parametrize(
    ("records", "turn_fields", "dialect"),
    [
        (table("role", "content", "weight"), {}, Dialect("role", "content")),
        (table("from", "value"), {}, Dialect("from", "value")),
        (table("weight", "content", "role", "name"), {}, Dialect("role", "content")),
        ([{"messages": None}, {"messages": [7]}, *table("from", "value")], {}, Dialect("from", "value")),
        ([{"messages": '[{"role": "user", "content": "hi"}]'}], {}, Dialect("role", "content")),
        (table("who", "said"), {"role": "who", "content": "said"}, Dialect("who", "said")),
        (table("role", "content", "said"), {"content": "said"}, Dialect("role", "said")),
    ],
)  # fmt: skip
def test_a_table_is_in_one_dialect(records: list[Any], turn_fields: dict[str, str], dialect: Dialect) -> None:
    assert find_dialect(records, turn_fields, "chats") == dialect


@pytest.mark.parametrize(
    ("records", "turn_fields", "words"),
    [
        ([], {}, "source 'chats' has no turns in its messages"),
        ([{"messages": None}], {}, "has no turns"),
        ([{"messages": "hello"}], {}, "columns={'messages': 'NAME'}"),
        (table("who", "said"), {}, "have the fields who, said: wanted are role and content .* from and value"),
        (table("role", "said"), {}, "turn_fields={'role': 'NAME', 'content': 'NAME'}"),
        (table("role", "content"), {"role": "who"}, "have the fields role, content"),
    ],
)
def test_another_table_is_refused_by_its_names(records: list[Any], turn_fields: dict[str, str], words: str) -> None:
    with pytest.raises(StageError, match=words):
        find_dialect(records, turn_fields, "chats")
