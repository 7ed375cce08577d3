"""Join a pre-Buffer with its language model into one checkpoint, ready for end-to-end tuning.

Reads  PreBuffer, BaseLlm
Makes  Checkpoint   one part: model/ in the released layout, with the language model's tokenizer, chat template,
                    generation settings and licence

No weights are fused: the two hold disjoint tensors of one stack. Where one is in bf16 and the other in fp32, all are
written in fp32, which rounds none. Content digest, widths and RoPE settings of the
language model are compared with those that the pre-Buffer was trained against.
"""

from __future__ import annotations

from functools import partial

from stages.artifacts.kinds import MODEL_PREFIX, PREBUFFER_WEIGHTS_FILE, BaseLlm, Checkpoint, PreBuffer
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.formats.prebuffer import check_fit, describe


class MergeRecipe(Recipe):
    """How strict the merge is."""

    rebase: bool = False
    """Accept another language model of the same widths than the one the pre-Buffer was trained against."""


def merge_part(_part: Part, draft: PartDraft, recipe: MergeRecipe, prebuffer: PreBuffer, llm: BaseLlm) -> None:
    """Write the merged checkpoint."""
    from safetensors.torch import load_file

    from neo_model.config import NeoConfig
    from neo_model.inputs.conversation import load_tokenizer
    from neo_model.weights.merge import merge
    from neo_model.weights.released import inherited_sidecars, read_tensors, tokenizer_sidecars, write_released

    check_fit(prebuffer, llm, rebase=recipe.rebase)
    description = describe(prebuffer)
    config = NeoConfig.from_released(description["config"])
    buffer_folder, llm_folder = prebuffer.copy_to(draft.scratch / "buffer"), llm.copy_to(draft.scratch / "llm")
    tensors = merge(load_file(buffer_folder / PREBUFFER_WEIGHTS_FILE), read_tensors(llm_folder), config)
    sidecars = inherited_sidecars(llm_folder) | tokenizer_sidecars(
        load_tokenizer(llm_folder, vocab_size=config.vocab_size)
    )
    write_released(draft.path(f"{MODEL_PREFIX}config.json").parent, config, tensors, sidecars)
    trained_against = description["language_model"]["content"]
    draft.fact(num_tensors=len(tensors), language_model=llm.head.content, trained_against=trained_against)


@stage(number=3, recipe=MergeRecipe, makes=Checkpoint, accepts=(1, 2), phases=("merge",))
def merge_post_llm(recipe: MergeRecipe, prebuffer: PreBuffer, llm: BaseLlm, *, ctx: StageContext) -> None:
    work = partial(merge_part, recipe=recipe, prebuffer=prebuffer, llm=llm)
    ctx.spread(work, over=[Part(name="00000")], phase="merge")
