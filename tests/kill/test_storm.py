"""The small recipe in a bucket, while the server in front of it has a bad day: it ends as where nothing happened."""

import random
from pathlib import Path

import pytest

from stages.artifacts.manifest import Manifest
from stages.store.store import Store
from tests.fault_proxy import FaultProxy, storm
from tests.kill.driver import neo
from tests.kill.home import NOBODY, Golden, comparable
from tests.kill.small import WORDS
from tests.s3_server import environment


@pytest.mark.kill
def test_a_storm_from_the_first_request_to_the_last_changes_no_bit(
    golden: Golden, bucket: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    store, site = Store(f"{bucket}/team"), tmp_path / "site.toml"
    site.write_text(f'store = "{store.url}"\nmlflow = "{NOBODY}"\n')
    proxy.watch = storm(proxy, random.Random(7))
    said = neo(["run", *WORDS, "--site", str(site)], environment(proxy.address), tmp_path / "said.txt")
    proxy.watch = None
    assert said.code == 0, said.out
    assert sum(rule.num_hits for rule in proxy.rules) > 50
    keys = [key for key in store.keys("artifacts/") if key.endswith("/manifest.json")]
    found = [Manifest.model_validate(store.read_json(key)) for key in keys]
    made = {manifest.provenance["step"]: comparable(manifest) for manifest in found}
    assert made == {step: comparable(manifest) for step, manifest in golden.made.items()}
