"""Events are stored in outboxes: their spelling there stays, whatever their classes are called."""

import json
from typing import get_args

from stages.contract.events import EVENT, Event, WarningPosted

TAGS = {
    "waiting", "queued", "started", "phase", "progress", "part", "numbers", "picture", "checkpoint", "noticed", "ended",
    "unsaved", "busy",
}  # fmt: skip


def test_every_event_has_the_tag_under_which_it_was_first_stored() -> None:
    kinds = get_args(get_args(Event)[0])
    assert {kind.model_fields["event"].default for kind in kinds} == TAGS and len(kinds) == len(TAGS)


def test_a_warning_is_stored_under_its_first_names_and_read_back() -> None:
    warning = WarningPosted(step="train", message="rank 1: row 7 is damaged", at_seconds=5)
    stored = EVENT.dump_json(warning)
    assert json.loads(stored) == {
        "event": "noticed", "step": "train", "said": "rank 1: row 7 is damaged", "at_seconds": 5.0
    }  # fmt: skip
    assert EVENT.validate_json(stored) == warning
