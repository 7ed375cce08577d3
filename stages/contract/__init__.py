"""What a stage is and what it may ask for: the one import of a stage author.

from stages.contract import Part, PartDraft, Recipe, StageContext, stage
"""

from stages.artifacts.artifact import Artifact
from stages.artifacts.records import PROFILE_PHASE, FileEntry, ItemBalance, PartRecord
from stages.contract.binding import BindError, Stage, Step, load_stage, stage, with_recipes
from stages.contract.context import REFUSED_NETWORKS_VARIABLE, StageContext
from stages.contract.errors import InterruptedRunError, NetworkDownError, StageError, SupersededError
from stages.contract.events import (
    CheckpointCommitted,
    CheckpointDelayed,
    Event,
    MachinesAwaited,
    NumbersReported,
    PartProgress,
    PartRecorded,
    PhaseOpened,
    PictureKept,
    Post,
    ReasonText,
    StepBusy,
    StepEnded,
    StepStarted,
    StepWaiting,
    WarningPosted,
)
from stages.contract.faults import LASTING_FAULTS, MachineFault, machine_fault
from stages.contract.fork import Fork, ReadingSteps, fork_of
from stages.contract.parts import Part, PartDraft, PartFacts, PartTask, PartWork
from stages.contract.ranks import GangLayout, Rank, RankCheckpoints
from stages.contract.recipe import Recipe, conduct
from stages.contract.source import PinnedFile, PinnedSource, Source, SourcePlace, sources_in, with_sources
from stages.store.store import Store
from stages.user_code.digest import StageCode
from stages.user_code.files import USER_FILE_PREFIX, UserFile, read_user_file
from stages.user_code.loading import carried, installed, load_carried, load_user_file

__all__ = [
    "LASTING_FAULTS",
    "PROFILE_PHASE",
    "REFUSED_NETWORKS_VARIABLE",
    "USER_FILE_PREFIX",
    "Artifact",
    "BindError",
    "CheckpointCommitted",
    "CheckpointDelayed",
    "Event",
    "FileEntry",
    "Fork",
    "GangLayout",
    "InterruptedRunError",
    "ItemBalance",
    "MachineFault",
    "MachinesAwaited",
    "NetworkDownError",
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
    "PinnedFile",
    "PinnedSource",
    "Post",
    "Rank",
    "RankCheckpoints",
    "ReadingSteps",
    "ReasonText",
    "Recipe",
    "Source",
    "SourcePlace",
    "Stage",
    "StageCode",
    "StageContext",
    "StageError",
    "Step",
    "StepBusy",
    "StepEnded",
    "StepStarted",
    "StepWaiting",
    "Store",
    "SupersededError",
    "UserFile",
    "WarningPosted",
    "carried",
    "conduct",
    "fork_of",
    "installed",
    "load_carried",
    "load_stage",
    "load_user_file",
    "machine_fault",
    "read_user_file",
    "sources_in",
    "stage",
    "with_recipes",
    "with_sources",
]
