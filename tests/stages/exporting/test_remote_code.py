"""The code beside weights is that of `neo_model`, whole, with imports that stay in the folder."""

import ast
import re

from stages.exporting.remote_code import AUTO_MAP, ENTRIES, PROCESSOR_MAP, remote_code


def test_every_import_of_ours_leads_to_a_file_beside_it() -> None:
    files = remote_code()
    names = {name.removesuffix(".py") for name in files}
    for name, content in files.items():
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert (node.level, node.module in names) == (1, True), f"{name}: {node.module}"
            elif isinstance(node, ast.Import | ast.ImportFrom):
                said = ast.unparse(node)
                assert not re.search(r"\b(neo_model|stages|cluster|pipelines)\b", said), f"{name}: {said}"


def test_each_entry_names_all_that_it_needs() -> None:
    files = {name.removesuffix(".py"): content.decode() for name, content in remote_code().items()}
    for entry in ENTRIES:
        named = {
            node.module for node in ast.walk(ast.parse(files[entry])) if isinstance(node, ast.ImportFrom) and node.level
        }
        needed = {
            node.module
            for module in named
            for node in ast.walk(ast.parse(files[module]))
            if isinstance(node, ast.ImportFrom) and node.level
        }
        assert needed <= named | {entry}


def test_the_classes_that_are_named_are_there() -> None:
    files = remote_code()
    for place in {*AUTO_MAP.values(), *PROCESSOR_MAP.values()}:
        module, _, name = place.partition(".")
        assert f"\nclass {name}(".encode() in files[f"{module}.py"]


def test_the_same_sources_give_the_same_files() -> None:
    assert list(remote_code().items()) == list(remote_code().items())
