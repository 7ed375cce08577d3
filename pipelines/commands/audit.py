"""`neo audit`: hash every byte and count every item behind an artifact again, and name what is not as committed."""

from __future__ import annotations

from pipelines.audit import Finding
from pipelines.audit import audit as look_at_everything
from pipelines.commands.answer import Answer, JsonOption, RefArgument, SiteOption, existing_store, find_site
from pipelines.courier import settle
from pipelines.exits import ExitCode
from pipelines.lineage import Node, lineage_of, size_bytes
from pipelines.refs import resolve_place
from stages.fingerprint import SHOWN_DIGITS
from stages.store import Store

WHAT_TO_DO = (
    "Put these files back from a copy. Without one, move the artifact's manifest.json away, and the record of each "
    "damaged part (records/<phase>/<part>.json), and run the pipeline again: it makes those parts alone."
)


def audit(ref: RefArgument, *, site: SiteOption = "", as_json: JsonOption = False) -> None:
    """Read the whole chain behind REF again: every hash, every count, every link. Names what is damaged."""
    answer = Answer(as_json=as_json)
    place = find_site(site)
    store = existing_store(place)
    settle(store, place.mlflow)
    lineage = lineage_of(store, *resolve_place(store, ref))

    def progress(node: Node) -> None:
        answer.say(f"{node.step:<20} {node.short}  {size_bytes(node.manifest) if node.manifest else 0:,} bytes")

    found = look_at_everything(store, lineage, progress)
    answer.say(
        "",
        f"Read {found.num_bytes:,} bytes in {found.num_files:,} files of {found.num_artifacts} artifacts, "
        f"counted {found.num_items:,} items.",
    )
    if not found.findings:
        answer.say("Everything is as it was committed.")
        answer.end(found.model_dump(), then=f"neo show {lineage.target.fingerprint[:SHOWN_DIGITS]}")
    answer.say(f"{len(found.findings)} things are not as they were committed:")
    answer.say(*(_in_words(store, finding) for finding in found.findings))
    answer.say("", WHAT_TO_DO)
    answer.end(found.model_dump(), then=f"neo audit {ref}   (once the files are back)", code=ExitCode.STEP_FAILED)


def _in_words(store: Store, finding: Finding) -> str:
    place = str(store.folder / finding.key) if store.folder else f"{store.url}/{finding.key}"
    return f"  {place}\n    {finding.artifact}: {finding.said}"
