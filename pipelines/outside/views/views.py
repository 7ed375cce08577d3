"""Views: an artifact of samples laid out so that another loader reads it as its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from pipelines.exits import BadCommandError, RefusedError
from pipelines.outside.copies import check_space
from pipelines.outside.held_files import in_words
from pipelines.outside.placing import NUM_WRITERS, How, PlacedPath, Placer
from pipelines.outside.target_folder import open_target
from pipelines.outside.views.clip_shards import ClipShards
from pipelines.outside.views.layouts import Layout
from pipelines.outside.views.pair_shards import PairShards
from pipelines.outside.views.row_shards import RowShards
from pipelines.outside.views.shards import ShardSource, ViewShard
from pipelines.outside.views.text_shards import ConversationShards, TextShards
from pipelines.outside.views.written import write_shard, write_text
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import (
    Conversations,
    KeptClips,
    KeptPairs,
    KeptTexts,
    RawClips,
    RawPairs,
    Rows,
    TextDocuments,
)
from stages.formats.read_ahead import ahead
from stages.store.errors import local_disk_errors

HELP: Final = "neo view --help"
SOURCES: Final[dict[str, Callable[[Artifact], ShardSource]]] = {
    RawPairs.kind: lambda one: PairShards(one.as_kind(RawPairs)),
    KeptPairs.kind: lambda one: PairShards(one.as_kind(KeptPairs)),
    RawClips.kind: lambda one: ClipShards(one.as_kind(RawClips)),
    KeptClips.kind: lambda one: ClipShards(one.as_kind(KeptClips)),
    TextDocuments.kind: lambda one: TextShards(one.as_kind(TextDocuments)),
    KeptTexts.kind: lambda one: TextShards(one.as_kind(KeptTexts)),
    Conversations.kind: lambda one: ConversationShards(one.as_kind(Conversations)),
    Rows.kind: lambda one: RowShards(one.as_kind(Rows)),
}
"""Kinds that can be laid out, and what gives their shards."""
Ended: TypeAlias = Literal["copied", "linked", "there", "written"]


@dataclass(frozen=True)
class PlannedView:
    """What a view consists of, before anything is laid out."""

    source: ShardSource
    """The shards, and their samples."""
    layout: Layout
    """The loader that it is for."""
    shards: Sequence[ViewShard]
    """The shards, in the order of their numbers."""
    how: How
    """How tars of the store come into the view."""

    @property
    def num_samples(self) -> int:
        """Samples of all shards."""
        return sum(shard.num_samples for shard in self.shards)

    @property
    def num_written(self) -> int:
        """Shards that are written, because no tar of the store holds their samples alone."""
        return sum(self.is_written(shard) for shard in self.shards)

    @property
    def least_bytes(self) -> int:
        """Bytes that are written or copied, as far as they are known."""
        copied = sum(shard.tar.size_bytes for shard in self.shards if shard.tar and self.how == "copy")
        return copied + sum(shard.least_bytes for shard in self.shards)

    def is_written(self, shard: ViewShard) -> bool:
        """Whether a shard is written."""
        return shard.tar is None


def plan_view(artifact: Artifact, layout: Layout, how: How | None) -> PlannedView:
    """What the view of an artifact consists of. Reads a column or two of each sample table, and no sample.

    By default tars of a local store are linked, those of an object store copied. Raises `BadCommandError` for a kind
    without samples, or an artifact that has none.
    """
    if artifact.head.kind not in SOURCES:
        raise BadCommandError(
            f"{in_words(artifact)} holds no samples that loaders read; there are views of {', '.join(SOURCES)}",
            then=f"neo files {artifact.short}",
        )
    is_remote = artifact.store.folder is None
    if is_remote and how not in (None, "copy"):
        raise RefusedError(
            f"the store {artifact.store.url} is remote: links can lead to files of a local store alone; leave the "
            "option out, and tars are copied",
            then=HELP,
        )
    source = SOURCES[artifact.head.kind](artifact)
    shards = list(source.shards())
    if not shards:
        raise BadCommandError(f"{in_words(artifact)} has no kept sample to lay out", then=f"neo show {artifact.short}")
    return PlannedView(source, layout, shards, how or ("copy" if is_remote else "link"))


def lay_out(
    artifact: Artifact,
    view: PlannedView,
    folder: Path,
    progress: Callable[[int], AbstractContextManager[Callable[[int], object]]],
) -> Counter[Ended]:
    """Lay out a view in `folder`; returns how many shards ended how. One that was begun is completed.

    Raises `RefusedError` before anything is written where that is known then.
    """
    about = {
        "artifact": f"{artifact.stage}/{artifact.short}",
        "content": artifact.head.content,
        "layout": view.layout.name,
    }
    ended: Counter[Ended] = Counter()
    with open_target(folder, about, artifact.store, HELP) as target:
        if not target.was_finished:
            check_space(folder, view.least_bytes, HELP)
        target.begin()
        placer = Placer(view.source.holder, target, view.how)
        with progress(len(view.shards)) as told, local_disk_errors(folder):

            def lay(numbered: tuple[int, ViewShard]) -> Ended:
                if placer.stop.is_set():
                    raise InterruptedError("the command was stopped")
                number, shard = numbered
                path = view.layout.path(number, view.source)
                if shard.tar is not None:
                    how: Ended = placer.place(PlacedPath(path, shard.tar))
                else:
                    how = "written" if write_shard(view.source, shard, number, target, path) else "there"
                view.layout.beside(target, view.source, shard, number)
                told(1)
                return how

            for one in ahead(lay, enumerate(view.shards), NUM_WRITERS, at_end=placer.stop.set):
                ended[one] += 1
        view.layout.finish(target, view.source, view.shards)
        write_text(target, "shards.csv", "".join(_lines(view)))
        target.finish()
    return ended


def _lines(view: PlannedView) -> Iterator[str]:
    """Which part of the artifact each shard is of."""
    yield "shard,part,samples,is\n"
    for number, shard in enumerate(view.shards):
        how = "written" if shard.tar is None else "as committed"
        yield f"{view.layout.path(number, view.source)},{shard.part},{shard.num_samples},{how}\n"
