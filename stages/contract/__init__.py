"""What a stage is and what it may ask for: the one import of a stage author.

from stages.contract import Part, PartDraft, Recipe, StageContext, stage
"""

from stages.artifacts.records import FileEntry, ItemBalance, PartRecord
from stages.contract.binding import USER_FILE_PREFIX, BindError, Stage, Step, load_stage, stage
from stages.contract.context import StageContext
from stages.contract.errors import InterruptedRunError, StageError, SupersededError
from stages.contract.events import (
    CheckpointCommitted,
    Event,
    NumbersReported,
    PartProgress,
    PartRecorded,
    PhaseOpened,
    PictureKept,
    Post,
    StepEnded,
    StepStarted,
    StepWaiting,
    WarningPosted,
)
from stages.contract.parts import Part, PartDraft, PartFacts, PartTask, PartWork
from stages.contract.ranks import GangLayout, Rank, RankCheckpoints
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
    "NumbersReported",
    "Part",
    "PartDraft",
    "PartFacts",
    "PartProgress",
    "PartRecord",
    "PartRecorded",
    "PartTask",
    "PartWork",
    "PhaseOpened",
    "PictureKept",
    "Post",
    "Rank",
    "RankCheckpoints",
    "Recipe",
    "Stage",
    "StageContext",
    "StageError",
    "Step",
    "StepEnded",
    "StepStarted",
    "StepWaiting",
    "SupersededError",
    "WarningPosted",
    "load_stage",
    "stage",
]
