"""The paper's order, small: pre-Buffer under a frozen language model, merge, mid-training, chat, evaluation, export.

neo run  pipeline.py:full       make all of it
neo describe train_prebuffer    every field of a stage
"""

from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source
from stages.evaluate import EvaluateRecipe, evaluate
from stages.export import ExportRecipe, export
from stages.fetch_llm import FetchLlmRecipe, fetch_llm
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.import_pairs import ImportPairsRecipe, import_pairs
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.read_text import ReadTextRecipe, read_text
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end

# EDIT: for a published model leave out all but max_row_tokens=8192.
PACKING = PackRowsRecipe(max_row_tokens=512, min_pixels_px=4_096, max_pixels_px=65_536)
# EDIT: how long and how fast each training goes; the paper's own numbers are in pipelines/recipes/neo_2b.py.
PREBUFFER = TrainPrebufferRecipe(
    num_prebuffer_layers=1, patch_hidden=64, num_steps=4, rows_per_step=2, num_warmup_steps=2, precision="fp32",
    checkpoint_every_steps=2,
)  # fmt: skip
TUNING = TuneRecipe(
    num_steps=4, rows_per_step=2, peak_learning_rate=1e-4, num_warmup_steps=2, precision="fp32",
    checkpoint_every_steps=2,
)  # fmt: skip


def full():
    """From pictures, text, chats and a language model to an evaluated and exported NEO."""
    llm = fetch_llm.bind("llm", FetchLlmRecipe(source=Source("llm")))
    # EDIT: for a table of URLs, `download_pairs` with DownloadPairsRecipe takes the place of these two names.
    raw = import_pairs.bind("raw", ImportPairsRecipe(source=Source("my_pairs")))
    kept = filter_pairs.bind("kept", FilterPairsRecipe(min_side_px=64), raw)
    text = read_text.bind("text", ReadTextRecipe(source=Source("my_text")))
    chat = Source("my_chat")
    pictures = collect_images.bind("pictures", CollectImagesRecipe(source=chat, images=Source("my_pictures")))
    talks = read_conversations.bind("talks", ReadConversationsRecipe(source=chat, heldout_share=0.2), pictures)
    held_out = ReadConversationsRecipe(source=chat, heldout_share=0.2, split="heldout")
    exam = read_conversations.bind("exam", held_out, pictures)

    def rows(name, shares, sources):
        """Samples of these sources by these shares, packed; nothing of the exam is among them."""
        draw = mix_samples.bind(f"{name}_mix", MixRecipe(shares=shares), sources, {"exam": exam})
        return pack_rows.bind(f"{name}_rows", PACKING, draw, llm)

    pretrain = rows("pretrain", {"pairs": 7, "text": 3}, {"pairs": kept, "text": text})
    buffer = train_prebuffer.bind("prebuffer", PREBUFFER, [pretrain], llm)
    merged = merge_post_llm.bind("merged", MergeRecipe(), buffer, llm)
    mid_rows = rows("mid", {"pairs": 4, "talks": 3, "text": 3}, {"pairs": kept, "talks": talks, "text": text})
    mid = tune_end_to_end.bind("mid", TUNING, merged, [mid_rows])
    tuned = tune_end_to_end.bind("chat", TUNING, mid, [rows("chat", {"talks": 1}, {"talks": talks})])

    answers = evaluate.bind("evaluate", EvaluateRecipe(max_new_tokens=8), tuned, exam)
    # EDIT: before it is published, `neo describe export` shows what its card may state: licence, languages, limits.
    return answers, export.bind("export", ExportRecipe(title="My NEO"), tuned, {"exam": answers})
