"""`pytest tests/golden --refresh-golden` writes what the stages make now, where that is allowed."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--refresh-golden", action="store_true", help="write tests/golden/<stage>.json anew")
