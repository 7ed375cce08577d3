"""What a stage is and what it may ask for: the one import of whoever writes a stage.

from stages.contract import Part, PartDraft, Recipe, StageContext, stage
"""

from stages.artifacts.records import FileEntry, ItemBalance, PartRecord
from stages.contract.binding import USER_FILE_PREFIX, BindError, Stage, Step, load_stage, stage
from stages.contract.context import StageContext
from stages.contract.errors import InterruptedRunError, StageError, SupersededError
from stages.contract.events import (
    CheckpointCommitted,
    Event,
    Noticed,
    NumbersReported,
    PartProgress,
    PartRecorded,
    PhaseOpened,
    PictureKept,
    Post,
    StepEnded,
    StepStarted,
    StepWaiting,
)
from stages.contract.parts import Part, PartDraft, PartWork
from stages.contract.ranks import GangLayout, Rank
from stages.contract.recipe import Recipe

__all__ = [
    "USER_FILE_PREFIX",
    "BindError",
    "CheckpointCommitted",
    "Event",
    "FileEntry",
    "GangLayout",
    "InterruptedRunError",
    "ItemBalance",
    "Noticed",
    "NumbersReported",
    "Part",
    "PartDraft",
    "PartProgress",
    "PartRecord",
    "PartRecorded",
    "PartWork",
    "PhaseOpened",
    "PictureKept",
    "Post",
    "Rank",
    "Recipe",
    "Stage",
    "StageContext",
    "StageError",
    "Step",
    "StepEnded",
    "StepStarted",
    "StepWaiting",
    "SupersededError",
    "load_stage",
    "stage",
]
