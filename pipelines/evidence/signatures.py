"""Signatures of folders by keys that never leave their owner, as the OpenSSF's model-signing makes and checks them.

Owns the one door to that library, an extra: `model_signing verify key` accepts what is signed here. Digests that are
known are handed over, so nothing is hashed a second time. The library is imported when a signature is made or checked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pipelines.evidence.folder_check import NOT_LOOKED_AT, SIGNATURE_FILE, FolderFinding, FolderReport
from pipelines.evidence.folder_record import OWN_RECORDS
from pipelines.exits import BadCommandError, RefusedError
from pipelines.outside.target_folder import HIDDEN
from stages.artifacts.kinds import LINEAGE_FILE, ExportedCheckpoint
from stages.artifacts.records import sha256_of

INSTALL: Final = "pip install 'neo-pipelines[evidence]'"
"""The command that brings the library."""


@dataclass(frozen=True)
class SignatureState:
    """What is known of the signature of a folder."""

    state: Literal["none", "not checked", "valid", "invalid"]
    """`not checked` is a signature without a key to check it by; its list of digests was compared all the same."""
    told: str
    """A sentence that says so to people."""
    key_sha256: str | None = None
    """sha256 of the public key that it says it is by, 64 hex digits."""
    findings: list[FolderFinding] = field(default_factory=list)
    """What is wrong with it."""

    @property
    def is_unchecked(self) -> bool:
        """Whether a key would tell more."""
        return self.state == "not checked"


def ignored_by(*, is_export: bool) -> list[str]:
    """The paths that a signature leaves out. Of a copy, `lineage.json` of its record is signed, and with it the root;
    an export has that among its own files."""
    own = [HIDDEN] if is_export else [f"{HIDDEN}/{name}" for name in (*OWN_RECORDS, "partial") if name != LINEAGE_FILE]
    return [*own, SIGNATURE_FILE, *NOT_LOOKED_AT]


def sign_digests(
    digests: Mapping[str, str], key: Path, target: Path, *, name: str, ignored: Iterable[str], password: str | None
) -> None:
    """Write a signature over the files with these digests, by path, to `target`.

    `name` is what the signature calls them. Raises `BadCommandError` for a key that cannot be used.
    """
    library = _library()
    try:
        config = library.signing.Config().use_elliptic_key_signer(private_key=key, password=_encoded(password))
    except (TypeError, ValueError) as error:
        raise BadCommandError(
            f"{key} is no private key on an elliptic curve (P-256, P-384, P-521) that can be opened: {error}",
            then="openssl ecparam -name prime256v1 -genkey -noout -out private.pem",
        ) from error
    known = _known_digests(digests, ignored)
    target.parent.mkdir(parents=True, exist_ok=True)
    config.set_hashing_config(known).sign(Path(name), target)


def check_signature(report: FolderReport, path: Path, key: Path | None) -> SignatureState:
    """Compare a signature with the files of a folder that were hashed, and with a public key.

    Raises `RefusedError` where a key is given and the library is not installed.
    """
    if not path.is_file():
        if key is None:
            return SignatureState("none", "It has no signature: who wrote its record is not known.")
        found = FolderFinding("signature", path.name, "is missing, and a key was given")
        return SignatureState("invalid", "The signature is missing.", findings=[found])
    try:
        signed, hint = _read(path)
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        return _invalid(path, f"cannot be read as a signature ({type(error).__name__})", None)
    if findings := _compare(report, signed, path):
        return SignatureState("invalid", "The signature is over other files.", hint, findings)
    if key is None:
        return SignatureState("not checked", f"Signed, it says, by the key of sha256 {hint}; --key checks that.", hint)
    problem = _problem_by_library(report, signed, path, key)
    return _invalid(path, problem, hint) if problem else SignatureState("valid", f"Signed by {key}.", hint)


def _read(path: Path) -> tuple[dict[str, str], str | None]:
    """The digests that a signature is over, by path, and the sha256 of the key that it says it is by."""
    bundle = json.loads(path.read_bytes())
    hint = bundle["verificationMaterial"].get("publicKey", {}).get("hint")
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True))
    signed = {one["name"]: one["digest"] for one in payload["predicate"]["resources"]}
    if not all(isinstance(text, str) for text in (*signed, *signed.values(), hint or "")):
        raise TypeError("names, digests and the hint of a key are texts")
    return signed, hint


def _invalid(path: Path, problem: str, hint: str | None) -> SignatureState:
    return SignatureState(
        "invalid", "The signature is not valid.", hint, [FolderFinding("signature", path.name, problem)]
    )


def _compare(report: FolderReport, signed: Mapping[str, str], path: Path) -> list[FolderFinding]:
    """Files that are not signed, are signed with other bytes, or are signed and not there."""
    found = {**report.digests, **_record_digest(report)}
    findings = [
        FolderFinding("signature", name, f"is not what {path.name} is over")
        for name, digest in found.items()
        if signed.get(name) != digest
    ]
    gone = sorted(signed.keys() - found.keys())
    return findings + [FolderFinding("signature", name, f"is signed by {path.name} and was not found") for name in gone]


def _record_digest(report: FolderReport) -> dict[str, str]:
    """Path and digest of the record of a copy, where it is signed with the files: of an export it is not."""
    record = report.record
    if record is None or not record.is_copy or is_export(record.artifact):
        return {}
    return {f"{HIDDEN}/{LINEAGE_FILE}": sha256_of(report.folder / HIDDEN / LINEAGE_FILE)}


def signed_digests(report: FolderReport) -> dict[str, str]:
    """Path and digest of all that a signature of this folder is over."""
    return {**report.digests, **_record_digest(report)}


def is_export(artifact: Mapping[str, Any]) -> bool:
    """Whether an entry of a lineage is that of an exported checkpoint, which has `lineage.json` among its files."""
    return str(artifact["kind"]) == ExportedCheckpoint.kind


def _problem_by_library(report: FolderReport, signed: Mapping[str, str], path: Path, key: Path) -> str:
    """What the library says against a signature; '' where it accepts it."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    library = _library()
    try:
        config = library.verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (AttributeError, TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise BadCommandError(
            f"{key} is no public key on an elliptic curve: {error}", then="neo verify --help"
        ) from error
    known = _known_digests({name: signed_digests(report)[name] for name in signed}, ())
    try:
        config.set_hashing_config(known).set_ignore_unsigned_files(True).verify(report.folder, path)
    except InvalidSignature:
        return "is not by this key"
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        return f"is not accepted: {error}"
    return ""


def _known_digests(digests: Mapping[str, str], ignored: Iterable[str]) -> Any:
    """A way of hashing for the library that returns digests which are known."""
    library = _library()
    manifest = library.manifest

    class KnownDigests(library.hashing.Config):  # type: ignore[misc, name-defined]
        """Digests of files by path, instead of reading the files."""

        def hash(self, model_path: Any, *, files_to_hash: Any = None) -> Any:  # noqa: ARG002
            serialization = manifest.SerializationType.from_args(
                {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": sorted(ignored)}
            )
            items = [
                serialization.new_item(name, manifest.hashing.Digest("sha256", bytes.fromhex(digest)))
                for name, digest in sorted(digests.items())
            ]
            return manifest.Manifest(Path(model_path).name, items, serialization)

    return KnownDigests()


def _encoded(password: str | None) -> Any:
    """A password as the library hands it to `cryptography`, which takes bytes alone."""
    return None if password is None else password.encode()


def _library() -> Any:
    """The library. Raises `RefusedError` that says how to install it."""
    try:
        import model_signing
        import model_signing.manifest
    except ImportError as error:
        raise RefusedError(
            f"signatures need the package model-signing, which is an extra ({error})", then=INSTALL
        ) from error
    return model_signing
