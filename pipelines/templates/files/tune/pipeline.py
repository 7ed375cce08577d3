"""Tune a released NEO on your own conversations, and ask it about those that were held out.

neo plan pipeline.py:tune       what will be made, and why
neo run  pipeline.py:tune       make it
"""

from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source
from stages.evaluate import EvaluateRecipe, evaluate
from stages.export import ExportRecipe, export
from stages.import_checkpoint import ImportCheckpointRecipe, import_checkpoint
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end


def tune():
    """From a checkpoint and a chat file to a tuned checkpoint, its answers, and a folder to hand on."""
    start = import_checkpoint.bind("start", ImportCheckpointRecipe(source=Source("checkpoint")))

    chat = Source("my_chat")
    pictures = collect_images.bind("pictures", CollectImagesRecipe(source=chat, images=Source("my_pictures")))
    talks = read_conversations.bind("talks", ReadConversationsRecipe(source=chat, heldout_share=0.2), pictures)
    held_out = ReadConversationsRecipe(source=chat, heldout_share=0.2, split="heldout")
    exam = read_conversations.bind("exam", held_out, pictures)

    draw = mix_samples.bind("mix", MixRecipe(shares={"talks": 1}), {"talks": talks}, {"exam": exam})
    # EDIT: for a released checkpoint leave out all but max_row_tokens=8_192.
    packing = PackRowsRecipe(max_row_tokens=512, min_pixels_px=4_096, max_pixels_px=65_536)
    rows = pack_rows.bind("rows", packing, draw, start)

    # EDIT: how long and how fast. A released checkpoint wants precision="bf16" and a GPU.
    training = TuneRecipe(
        num_steps=4, rows_per_step=2, peak_learning_rate=1e-4, num_warmup_steps=2, precision="fp32",
        checkpoint_every_steps=2,
    )  # fmt: skip
    tuned = tune_end_to_end.bind("tuned", training, start, [rows])

    answers = evaluate.bind("evaluate", EvaluateRecipe(max_new_tokens=8), tuned, exam)
    # EDIT: before it is published, `neo describe export` shows what its card may state: licence, languages, limits.
    return answers, export.bind("export", ExportRecipe(title="My NEO"), tuned, {"exam": answers})
