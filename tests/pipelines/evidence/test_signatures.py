"""Our signatures are accepted by the other side's own command, theirs by ours, and each change of either is noticed."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("model_signing")

from click.testing import CliRunner
from model_signing._cli import main as model_signing

from pipelines.evidence.folder_check import check_folder
from pipelines.evidence.signatures import SignatureState, check_signature
from pipelines.exits import BadCommandError
from tests.pipelines.conftest import NeoSite


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pairs of keys: `mine.pem`, `mine.pub`, `other.pem`, `other.pub`, and `locked.pem` of mine."""
    folder = tmp_path_factory.mktemp("keys")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for name in ("mine", "other"):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.pem")
        openssl("ec", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub")
    openssl("ec", "-in", "mine.pem", "-aes256", "-passout", "pass:secret", "-out", "locked.pem")
    return folder


def accepted_by_them(folder: Path, signature: Path, key: Path) -> bool:
    """Whether `model_signing verify key` accepts a folder."""
    words = ["verify", "key", str(folder), "--signature", str(signature), "--public_key", str(key)]
    return CliRunner().invoke(model_signing, words).exit_code == 0


def state_of(folder: Path, key: Path | None = None, signature: Path | None = None) -> SignatureState:
    return check_signature(check_folder(folder), signature or folder / "model.sig", key)


@pytest.mark.parametrize("made", ["export", "copy"])
def test_a_signed_folder_is_accepted_by_both_and_by_no_other_key(
    made: str, site: NeoSite, keys: Path, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(made)
    said = site.neo("sign", str(folder), "--key", str(keys / "mine.pem"))
    assert said.code == 0, said.err
    assert accepted_by_them(folder, folder / "model.sig", keys / "mine.pub")
    assert not accepted_by_them(folder, folder / "model.sig", keys / "other.pub")
    answer = site.neo("verify", str(folder), "--key", str(keys / "mine.pub"), "--json")
    assert (answer.code, answer.json["signature"], answer.json["findings"]) == (0, "valid", [])
    assert site.neo("verify", str(folder), "--json").json["signature"] == "not checked"
    refused = site.neo("verify", str(folder), "--key", str(keys / "other.pub"), "--json")
    assert (refused.code, refused.json["signature"]) == (1, "invalid")
    (path,) = [one for one in (folder / "sub" / "a.json", folder / ".neo" / "lineage.json") if one.exists()]
    path.write_bytes(path.read_bytes() + b" ")
    assert site.neo("verify", str(folder), "--key", str(keys / "mine.pub")).code == 1
    assert not accepted_by_them(folder, folder / "model.sig", keys / "mine.pub")


def test_an_artifact_is_signed_without_reading_it_and_its_copy_is_accepted(
    site: NeoSite, copy: Path, keys: Path
) -> None:
    said = site.neo("sign", "data/rows", "--key", str(keys / "mine.pem"), "--to", str(copy / "model.sig"))
    assert said.code == 0, said.err
    assert state_of(copy, keys / "mine.pub").state == "valid"
    assert accepted_by_them(copy, copy / "model.sig", keys / "mine.pub")


def test_what_they_signed_is_accepted_here(export: Path, keys: Path, tmp_path: Path) -> None:
    signature = tmp_path / "theirs.sig"
    words = ["sign", "key", str(export), "--signature", str(signature), "--private_key", str(keys / "mine.pem")]
    assert CliRunner().invoke(model_signing, words).exit_code == 0
    assert state_of(export, keys / "mine.pub", signature).state == "valid"
    assert state_of(export, keys / "other.pub", signature).state == "invalid"


def test_a_key_with_a_password_is_opened_by_the_name_of_a_variable(
    site: NeoSite, export: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("sign", str(export), "--key", str(keys / "locked.pem"))
    monkeypatch.setenv("MINE", "secret")
    assert site.neo(*words, "--password-variable", "MINE").code == 0
    assert state_of(export, keys / "mine.pub").state == "valid"
    for more in ((), ("--password-variable", "NOT_SET")):
        refused = site.neo(*words, *more)
        assert refused.code == 2 and "secret" not in refused.err


def test_a_damaged_folder_is_not_signed(site: NeoSite, export: Path, keys: Path) -> None:
    (export / "README.md").write_text("other")
    refused = site.neo("sign", str(export), "--key", str(keys / "mine.pem"))
    assert refused.code == 3 and "README.md has 5 bytes" in refused.err and not (export / "model.sig").exists()


def test_every_change_of_a_signature_is_noticed(site: NeoSite, export: Path, keys: Path) -> None:
    site.neo("sign", str(export), "--key", str(keys / "mine.pem"))
    path, report = export / "model.sig", check_folder(export)
    bundle: dict[str, Any] = json.loads(path.read_bytes())

    def spoiled(change: Any) -> SignatureState:
        other = json.loads(json.dumps(bundle))
        change(other)
        path.write_text(json.dumps(other))
        return check_signature(report, path, keys / "mine.pub")

    assert spoiled(lambda other: None).state == "valid"
    for change in (
        lambda other: other["dsseEnvelope"].update(payload=other["dsseEnvelope"]["payload"][:-8]),
        lambda other: other["dsseEnvelope"].update(payload="e30="),
        lambda other: other["dsseEnvelope"]["signatures"][0].update(
            sig=other["dsseEnvelope"]["signatures"][0]["sig"][4:]
        ),
        lambda other: other["dsseEnvelope"].update(signatures=[]),
        lambda other: other["verificationMaterial"]["publicKey"].update(hint="0" * 64),
        lambda other: other.pop("verificationMaterial"),
        lambda other: other.pop("mediaType"),
    ):
        assert spoiled(change).state == "invalid"
    for data in (b"", b"[]", b"\xff\xfe", b"{}"):
        path.write_bytes(data)
        assert check_signature(report, path, keys / "mine.pub").state == "invalid"
    path.unlink()
    assert check_signature(report, path, keys / "mine.pub").state == "invalid"
    assert check_signature(report, path, None).state == "none"


def test_a_file_that_is_no_key_is_refused_in_words(site: NeoSite, export: Path, keys: Path) -> None:
    assert site.neo("sign", str(export), "--key", str(export / "README.md")).code == 2
    assert site.neo("sign", str(export), "--key", str(keys / "nothing")).code == 2
    site.neo("sign", str(export), "--key", str(keys / "mine.pem"))
    with pytest.raises(BadCommandError, match="is no public key"):
        state_of(export, export / "README.md")
