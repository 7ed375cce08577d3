"""Data sets of MLflow: the fields of artifacts and of sources from outside, with sources that MLflow can resolve.

Pure: `mlflow.data.get_source(dataset)` gives an object that downloads what these fields name. What lies where MLflow
has no reader for is described instead of named (its source type `code`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from stages.artifacts.head import ManifestHead
from stages.artifacts.manifest import artifact_folder
from stages.store.store import Store

DIGEST_CHARACTERS: Final = 32
"""Length of a data set's digest on a page; MLflow accepts at most 36 characters."""
MAX_SOURCE_CHARACTERS: Final = 20_000
"""Longest source that is sent; MLflow accepts 65,535 bytes."""
SOURCE_TYPES: Final = {"file": "local", "": "local", "s3": "s3", "gs": "gs", "http": "http", "https": "http"}
"""Scheme of an address to what MLflow calls a source there."""
HUB: Final = re.compile(
    r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>refs/(convert|pr)/[^/]+|[^/]+))?(/(?P<path>.*))?"
)
"""A data set on a model hub: `hf://datasets/OWNER/NAME@COMMIT/path`, or a branch such as `@refs/convert/parquet`."""


def artifact_dataset(head: ManifestHead, store: Store, profile: Mapping[str, float]) -> dict[str, str]:
    """The fields of the data set that an artifact is; equal on the page that made it and on those that read it."""
    source_type, source = resolvable(f"{store.url}/{artifact_folder(head.stage, head.fingerprint)}")
    return {
        "name": head.short,
        "digest": head.content[:DIGEST_CHARACTERS],
        "source_type": source_type,
        "source": json.dumps(source),
        "profile": json.dumps({**profile, "kind": head.kind}),
    }


def outside_dataset(name: str, source: Mapping[str, Any]) -> dict[str, str]:
    """The fields of the data set that a source from outside is, as a plan or a manifest records it.

    Several addresses have one place, below which their files lie; one address is named whole.
    """
    addresses: Sequence[str] = source.get("uri") or ()
    address = addresses[0] if len(addresses) == 1 else str(source["place"])
    source_type, described = resolvable(address, source.get("commit"))
    counts = {key: source[key] for key in ("num_files", "size_bytes", "num_rows") if source.get(key) is not None}
    return {
        "name": name,
        "digest": str(source["digest"])[:DIGEST_CHARACTERS],
        "source_type": source_type,
        "source": json.dumps(described)[:MAX_SOURCE_CHARACTERS],
        "profile": json.dumps({**counts, "kind": "source", "uri": list(addresses[:10])}),
    }


def resolvable(address: str, commit: str | None = None) -> tuple[str, dict[str, Any]]:
    """What MLflow calls the source at this address, and its fields.

    >>> resolvable("s3://bucket/store/artifacts/pack_rows/3f2a9c01d4e5")
    ('s3', {'uri': 's3://bucket/store/artifacts/pack_rows/3f2a9c01d4e5'})
    >>> resolvable("hf://datasets/lmms-lab/talks@0123abcd/train.parquet")[1]
    {'path': 'lmms-lab/talks', 'revision': '0123abcd', 'data_files': 'train.parquet'}
    """
    if hub := HUB.fullmatch(address):
        found = {"path": hub["repository"], "revision": hub["revision"] or commit, "data_files": hub["path"] or None}
        return "hugging_face", {name: text for name, text in found.items() if text is not None}
    source_type = SOURCE_TYPES.get(urlsplit(address).scheme)
    if source_type is None:
        return "code", {"tags": {"uri": address}}
    return source_type, {"url" if source_type == "http" else "uri": address}
