"""Your own conversations, with their pictures, as packed rows: everything but the training.

neo run  pipeline.py:rows       make them
neo look rows/rows              the samples as the model gets them
"""

from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source
from stages.fetch_llm import FetchLlmRecipe, fetch_llm
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations


def rows():
    """From a chat file to rows."""
    llm = fetch_llm.bind("llm", FetchLlmRecipe(source=Source("llm")))
    pictures = collect_images.bind(
        "pictures", CollectImagesRecipe(source=Source("my_chat"), images=Source("my_pictures"))
    )
    talks = read_conversations.bind("talks", ReadConversationsRecipe(source=Source("my_chat")), pictures)
    draw = mix_samples.bind("mix", MixRecipe(shares={"talks": 1}), {"talks": talks})
    # EDIT: for a published model leave out all but max_row_tokens=8192.
    packing = PackRowsRecipe(max_row_tokens=512, min_pixels_px=4_096, max_pixels_px=65_536)
    return pack_rows.bind("rows", packing, draw, llm)
