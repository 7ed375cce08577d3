"""The code of users' stages, compared: which stage's code changed, from which digest to which, in which files."""

from __future__ import annotations

from collections.abc import Mapping

from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.contract import StageCode, UserFile
from stages.store.store import Store

CODE_FOLDER = "code"
"""Prefix of the texts of users' files: `code/<digest>/mine.py`, where the digest is that of the records' `made_by`."""


def code_texts(file: UserFile) -> dict[str, str]:
    """The texts of a user's files by the keys under which a store keeps them."""
    return {f"{CODE_FOLDER}/{file.digest}/{name}": text for name, text in file.texts.items()}


def kept_texts(store: Store, digest: str) -> dict[str, str]:
    """File name to text of the code that a store keeps under a digest; empty where it keeps none."""
    prefix = f"{CODE_FOLDER}/{digest}/"
    keys = list(store.keys(prefix))
    texts = zip(keys, store.read_many(keys), strict=True)
    return {key.removeprefix(prefix): data.decode() for key, data in texts if data is not None}


def code_change(
    stage: str, before: StageCode | None, after: StageCode, texts: Mapping[str, str], file: UserFile | None
) -> str:
    """What changed in a stage's code, as a phrase; `texts` and `file` are the files before and now.

    `the code changed: stage own of mine.py, 1a2b3c4d5e6f -> 9f8e7d6c5b4a (edited: lib/clean.py)`
    """
    now = after.sha256[:SHOWN_DIGITS]
    if before is None:
        return f"the code changed: stage {stage} of {after.file}, made before its code took part in identity -> {now}"
    place = after.file if before.file == after.file else f"{before.file}, now of {after.file}"
    files = edited_files(texts, file.texts if file else {})
    edited = f" (edited: {', '.join(files)})" if texts and files else ""
    return f"the code changed: stage {stage} of {place}, {before.sha256[:SHOWN_DIGITS]} -> {now}{edited}"


def edited_files(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Names of the files whose text differs, or that one of the two does not have."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
