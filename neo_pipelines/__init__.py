"""The door for Python: what was made, read as pictures and text, in a notebook or a script. See README.md."""

from neo_pipelines.items import DocumentItem, RowItem, SampleItem
from neo_pipelines.made import Made
from neo_pipelines.opened_store import OpenedStore, open_store
from neo_pipelines.steps import TrainingStep

__all__ = ["DocumentItem", "Made", "OpenedStore", "RowItem", "SampleItem", "TrainingStep", "open_store"]
