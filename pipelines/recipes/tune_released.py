"""A released NEO 2B tuned on a chat file of your own, on one GPU of 40 GB: `--site one_gpu`.

It reads three sources that your `sources.toml` names: `released`, the folder or hub repository of the checkpoint;
`my_chat`, a JSON, JSONL or Parquet of conversations; and `my_pictures`, the folder or the tars of its pictures. A tenth
of the conversations is held out, and the tuned model answers them at the end.

All weights train, and Adam's moments lie in host memory, 77 GiB with the copy that checkpoints are written from. With
adapters (`--set tuned.lora_rank=16 --set tuned.peak_learning_rate=2e-4`) that is 1 GiB, and nothing need be offloaded.
"""

from __future__ import annotations

from stages.artifacts.kinds import Evaluation, ExportedCheckpoint
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source, Step
from stages.evaluate import EvaluateRecipe, evaluate
from stages.export import ExportRecipe, export
from stages.import_checkpoint import ImportCheckpointRecipe, import_checkpoint
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end

HELDOUT_SHARE = 0.1


def tune_released() -> tuple[Step[Evaluation], Step[ExportedCheckpoint]]:
    """From the released checkpoint and the chat file to a tuned, evaluated and exported one."""
    start = import_checkpoint.bind("start", ImportCheckpointRecipe(source=Source("released"), published="NEO-2B"))

    chat = Source("my_chat")
    pictures = collect_images.bind("pictures", CollectImagesRecipe(source=chat, images=Source("my_pictures")))
    reading = ReadConversationsRecipe(source=chat, heldout_share=HELDOUT_SHARE)
    talks = read_conversations.bind("talks", reading, pictures)
    exam = read_conversations.bind("exam", reading.model_copy(update={"split": "heldout"}), pictures)

    # What is equal to a held-out conversation, or shows the same picture, is not trained on.
    draw = mix_samples.bind("mix", MixRecipe(shares={"talks": 1}), {"talks": talks}, {"exam": exam})
    rows = pack_rows.bind("rows", PackRowsRecipe(max_row_tokens=8_192, max_pixels_px=1024**2), draw, start)

    # A small learning rate, since the model has learned already: a fifth of what the paper tunes with. 1,000 steps of 8
    # rows are 64 million tokens; `--set tuned.num_steps=...` for another length.
    tuning = TuneRecipe(
        num_steps=1_000, rows_per_step=8, peak_learning_rate=1e-5, num_warmup_steps=50, checkpoint_every_steps=100
    )
    tuned = tune_end_to_end.bind("tuned", tuning, start, [rows])

    answers = evaluate.bind("evaluate", EvaluateRecipe(max_new_tokens=128), tuned, exam)
    return answers, export.bind("export", ExportRecipe(title="Tuned NEO 2B"), tuned, {"exam": answers})
