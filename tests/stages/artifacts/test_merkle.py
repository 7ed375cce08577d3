"""The trees are those of RFC 6962, one leaf at a time, and no root stands for two different things."""

import hashlib
from itertools import combinations

import pytest

from stages.artifacts.head import check_head, files_root_of, head_bytes, head_key, head_of
from stages.artifacts.manifest import manifest_bytes
from stages.artifacts.merkle import MerkleTree, artifact_root, file_leaf, root_of
from stages.artifacts.records import STEPS_PHASE
from stages.store.store import Store
from tests.stages.artifacts.test_manifest import FINGERPRINT, PARTS, STAGE, manifest, write

# Leaves and roots of the reference implementation of Certificate Transparency (Apache-2.0), as widely published facts.
LEAVES = [bytes.fromhex(one) for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
}


def recursive(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, word by word."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0]).digest() if leaves else hashlib.sha256().digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\1" + recursive(leaves[:half]) + recursive(leaves[half:])).digest()


@pytest.mark.parametrize("number", ROOTS)
def test_roots_are_those_of_certificate_transparency(number: int) -> None:
    assert root_of(LEAVES[:number]) == ROOTS[number]


def test_a_growing_tree_has_the_root_of_the_definition_at_every_size() -> None:
    tree, leaves = MerkleTree(), []
    for number in range(70):
        assert tree.root == recursive(leaves).hex()
        leaves.append(str(number).encode())
        tree.add(leaves[-1])
    assert len(tree._whole) <= 7


def test_two_files_never_have_one_leaf() -> None:
    named = [("a", "b", "c", 1, "d"), ("a", "b", "c", 1, "e"), ("a", "b", "c", 11, "d"), ("a", "bc", "", 1, "d"),
             ("ab", "", "c", 1, "d"), ("a", "c", "b", 1, "d")]  # fmt: skip
    assert all(file_leaf(*one) != file_leaf(*other) for one, other in combinations(named, 2))
    assert file_leaf(STEPS_PHASE, "00007", "a", 1, "d") == file_leaf(STEPS_PHASE, "00008", "a", 1, "d")


def test_a_root_follows_every_field_every_file_and_every_input() -> None:
    described = manifest(*PARTS).model_dump(mode="json")
    roots = {item["fingerprint"]: "1" * 64 for item in described["inputs"].values()}
    files = head_of(manifest_bytes(manifest(*PARTS))).files_root
    changed = [
        artifact_root({**described, **change}, files, roots)
        for change in (
            {},
            {"number": 99},
            {"content": "c"},
            {"recipe": {}},
            {"items": {}},
            {"stage": "x"},
            {"kind": "K"},
        )
    ]
    changed.append(artifact_root(described, "0" * 64, roots))
    read = {"raw": {"stage": "s", "fingerprint": "f", "content": "c"}}
    changed += [artifact_root({**described, "inputs": read}, files, {"f": root}) for root in ("1" * 64, "2" * 64)]
    assert len(set(changed)) == len(changed)
    with pytest.raises(KeyError):
        artifact_root({**described, "inputs": read}, files, {})


def test_the_files_root_of_a_head_is_over_the_files_of_its_manifest(tmp_path) -> None:
    heads = [head_of(manifest_bytes(manifest(*parts))) for parts in (PARTS, PARTS[:1], PARTS[1:])]
    assert len({head.files_root for head in heads}) == 3
    leaves = [
        file_leaf(one.phase, one.part, entry.name, entry.size_bytes, entry.sha256)
        for one in PARTS
        for entry in sorted(one.files, key=lambda entry: entry.name)
    ]
    assert heads[0].files_root == root_of(leaves)


def test_a_head_of_before_has_no_root_and_is_no_damage(tmp_path) -> None:
    store = Store(tmp_path)
    data = manifest_bytes(manifest(*PARTS))
    write(store, data)
    head = head_of(data)
    before = head.model_copy(update={"files_root": ""})
    (tmp_path / head_key(STAGE, FINGERPRINT)).write_bytes(head_bytes(before))
    assert check_head(store, STAGE, FINGERPRINT) == ""
    assert files_root_of(store, before) == head.files_root != ""
    (tmp_path / head_key(STAGE, FINGERPRINT)).write_bytes(head_bytes(head.model_copy(update={"files_root": "0" * 64})))
    assert "files_root" in check_head(store, STAGE, FINGERPRINT)
