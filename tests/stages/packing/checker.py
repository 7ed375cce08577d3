"""A checker of packed rows that shares nothing with what packs them.

Reads the files of an artifact with tarfile, json, numpy and pyarrow alone, and asks of them what a certificate claims:
every drawing in one row as a whole or refused for a reason, no row over its length, pictures whole and byte for byte
those that were downloaded, and as many rows as no packing can do without. Raises `AssertionError` saying what is wrong.
"""

import hashlib
import io
import json
import math
import tarfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import xxhash

Manifest = dict


def manifest_of(store: Path, stage: str, fingerprint: str) -> Manifest:
    return json.loads((store / "artifacts" / stage / fingerprint[:12] / "manifest.json").read_text())


def files(store: Path, manifest: Manifest, phase: str, name: str) -> list[Path]:
    """The file of this name of each part of a phase, in order; its bytes are those of the manifest."""
    found = []
    for part in manifest["parts"]:
        for entry in part["files"]:
            if (part["phase"], entry["name"]) == (phase, name):
                path = store / entry["key"]
                assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"], path
                found.append(path)
    return found


def table(paths: list[Path]) -> list[dict]:
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def check_rows(store: Path, fingerprint: str) -> dict:
    """Check an artifact of packed rows; returns the facts of its plan."""
    rows = manifest_of(store, "pack_rows", fingerprint)
    draw = manifest_of(store, "mix_samples", rows["inputs"]["draw"]["fingerprint"])
    drawn = Counter(
        (row["source"], row["sample_id"], row["repetition"])
        for row in table(files(store, draw, "draw", "draw.parquet"))
    )
    (plan,) = (part["facts"] for part in rows["parts"] if part["phase"] == "plan")
    packed = _read_tars(store, rows)
    accounts = table(files(store, rows, "write", "samples.parquet"))
    _check_accounts(accounts, drawn, packed, plan)
    _check_certificate(packed, plan, rows["recipe"])
    _check_pictures(store, packed, draw)
    _check_index(store, rows, packed)
    return plan


def _read_tars(store: Path, manifest: Manifest) -> list[dict]:
    """Every row in order: its documents with their tokens, its pictures, and its bytes."""
    found = []
    for path in files(store, manifest, "write", "rows.tar"):
        members: dict[str, dict[str, bytes]] = defaultdict(dict)
        bounds: dict[str, list[int]] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                members[key][ending] = tar.extractfile(member).read()
                end = member.offset_data + math.ceil(member.size / 512) * 512
                bounds[key] = [bounds.get(key, [member.offset])[0], end]
        data = path.read_bytes()
        for key, held in members.items():
            facts = json.loads(held.pop("json"))
            tokens, mask = (np.load(io.BytesIO(held.pop(f"{name}.npy"))) for name in ("tokens", "mask"))
            assert len(tokens) == len(mask) == sum(document["num_tokens"] for document in facts["documents"])
            assert len(held) == len(facts["image_grids"]) == sum(one["num_pictures"] for one in facts["documents"])
            start, end = bounds[key]
            found.append(
                {"row": int(key), "num_tokens": len(tokens), **facts, "pictures": [held[name] for name in sorted(held)]}
                | {"offset": start, "size_bytes": end - start, "digest": xxhash.xxh3_64_intdigest(data[start:end])}
            )
    assert [row["row"] for row in found] == list(range(len(found))), "rows are numbered through all tars"
    return found


def _check_accounts(accounts: list[dict], drawn: Counter, packed: list[dict], plan: dict) -> None:
    """Every drawing is accounted for once, and is in rows in all its pieces exactly if it was kept."""
    assert Counter((row["source"], row["sample_id"], row["repetition"]) for row in accounts) == drawn
    dropped = [row for row in accounts if row["verdict"] != "kept"]
    assert all(row["reason"] for row in dropped)
    assert Counter(row["reason"] for row in dropped) == plan["dropped"]
    pieces = defaultdict(list)
    for row in packed:
        for one in row["documents"]:
            pieces[one["source"], bytes.fromhex(one["sample_id"]), one["repetition"]].append(one["piece"])
    kept = {(row["source"], row["sample_id"], row["repetition"]) for row in accounts if row["verdict"] == "kept"}
    assert pieces.keys() == kept, "what is kept is in rows, what is dropped is not"
    assert all(sorted(numbers) == list(range(len(numbers))) for numbers in pieces.values()), "no piece lost or twice"


def _check_certificate(packed: list[dict], plan: dict, recipe: dict) -> None:
    room = recipe["max_row_tokens"]
    lengths = [one["num_tokens"] for row in packed for one in row["documents"]]
    assert all(0 < row["num_tokens"] <= room for row in packed)
    assert (plan["num_rows"], plan["num_documents"], plan["num_tokens"]) == (len(packed), len(lengths), sum(lengths))
    assert plan["num_images"] == sum(len(row["pictures"]) for row in packed)
    assert plan["lower_bound_rows"] == fewest_rows(lengths, room)
    assert plan["gap"] == len(packed) / plan["lower_bound_rows"] - 1
    assert plan["fill"] == sum(lengths) / (len(packed) * room)


def fewest_rows(lengths: list[int], room: int) -> int:
    """What no packing can do with less, by the definition of L2 (Martello and Toth), one threshold after the other."""
    best = math.ceil(sum(lengths) / room)
    for short in range(1, room // 2 + 1):
        alone = [length for length in lengths if length > room - short]
        long = [length for length in lengths if room // 2 < length <= room - short]
        middle = [length for length in lengths if short <= length <= room // 2]
        over = sum(middle) - (len(long) * room - sum(long))
        best = max(best, len(alone) + len(long) + max(0, math.ceil(over / room)))
    return best


def _check_pictures(store: Path, packed: list[dict], draw: Manifest) -> None:
    """A sample's pictures lie in one row with all of it, as they were downloaded."""
    downloaded: dict[bytes, str] = {}
    for manifest in _ancestors(store, draw):
        for row in table(files(store, manifest, "download", "samples.parquet")):
            if row["verdict"] == "kept":
                downloaded[row["sample_id"]] = row["sha256"].hex()
    for row in packed:
        left = list(row["pictures"])
        for one in row["documents"]:
            mine, left = left[: one["num_pictures"]], left[one["num_pictures"] :]
            digests = [hashlib.sha256(picture).hexdigest() for picture in mine]
            own = downloaded.get(bytes.fromhex(one["sample_id"]))
            assert digests == [own] if own else set(digests) <= set(downloaded.values())
            assert not (mine and one["piece"]), "a sample with pictures is never cut"


def _ancestors(store: Path, manifest: Manifest) -> list[Manifest]:
    parents = [manifest_of(store, ref["stage"], ref["fingerprint"]) for ref in manifest["inputs"].values()]
    return parents + [one for parent in parents for one in _ancestors(store, parent)]


def _check_index(store: Path, manifest: Manifest, packed: list[dict]) -> None:
    """The index says of each row where it lies and what it holds; that of samples leads to every row of each."""
    index = table(files(store, manifest, "write", "index.parquet"))
    for entry, row in zip(index, packed, strict=True):
        for name in ("row", "offset", "size_bytes", "digest", "num_tokens"):
            assert entry[name] == row[name], name
        assert [one.hex() for one in entry["sample_ids"]] == [one["sample_id"] for one in row["documents"]]
    (path,) = files(store, manifest, "plan", "sample_rows.bin")
    data = path.read_bytes()
    entries = [
        (data[at : at + 16].hex(), int.from_bytes(data[at + 16 : at + 20], "little")) for at in range(0, len(data), 20)
    ]
    assert entries == sorted({(one["sample_id"], row["row"]) for row in packed for one in row["documents"]})
