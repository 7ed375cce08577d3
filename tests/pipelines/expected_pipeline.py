"""A pipeline that trains on rows which a test can make in a second."""

from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from tests.worlds.training_world import LlmRecipe, RowsRecipe, make_llm, make_rows

LLM = make_llm.bind("llm", LlmRecipe())
ROWS = make_rows.bind("rows", RowsRecipe(), LLM)


def small():
    recipe = TrainPrebufferRecipe(
        num_prebuffer_layers=1, patch_hidden=16, num_steps=12, rows_per_step=4, num_warmup_steps=2, precision="fp32"
    )
    return train_prebuffer.bind("buffer", recipe, [ROWS], LLM)
