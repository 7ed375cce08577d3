"""Pictures with captions of your own: packed rows, and a pre-Buffer that begins to learn from them.

neo run  pipeline.py:pairs      make them
neo look pairs/kept             which pairs were kept, which were not and why
"""

from stages.contract import Source
from stages.fetch_llm import FetchLlmRecipe, fetch_llm
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.import_pairs import ImportPairsRecipe, import_pairs
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer


def pairs():
    """From a folder of pictures to a pre-Buffer."""
    llm = fetch_llm.bind("llm", FetchLlmRecipe(source=Source("llm")))
    # EDIT: for a table of URLs, `download_pairs` with DownloadPairsRecipe takes the place of these two names.
    raw = import_pairs.bind("raw", ImportPairsRecipe(source=Source("my_pairs")))
    kept = filter_pairs.bind("kept", FilterPairsRecipe(min_side_px=64), raw)
    draw = mix_samples.bind("mix", MixRecipe(shares={"pairs": 1}), {"pairs": kept})
    # EDIT: for a published model leave out all but max_row_tokens=8192.
    packing = PackRowsRecipe(max_row_tokens=512, min_pixels_px=4_096, max_pixels_px=65_536)
    rows = pack_rows.bind("rows", packing, draw, llm)

    # EDIT: the paper's own numbers are the defaults of TrainPrebufferRecipe (`neo describe train_prebuffer`).
    training = TrainPrebufferRecipe(
        num_prebuffer_layers=1, patch_hidden=64, num_steps=4, rows_per_step=2, num_warmup_steps=2, precision="fp32",
        checkpoint_every_steps=2,
    )  # fmt: skip
    return train_prebuffer.bind("prebuffer", training, [rows], llm)
