"""What DeepSpeed is told: its surroundings, and its configuration as a function of recipe and site."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any, Final

from stages.contract import GangLayout, StageError
from stages.training.recipe import Precision, TrainRecipe

LIVE_PARAMETER_VALUES: Final = 1_000_000_000
"""Most values of gathered parameters that ZeRO-3 keeps after their use; the default is DeepSpeed's."""
NEVER_STEPS: Final = 10**15


def prepare_surroundings(device: str) -> None:
    """Say which accelerator is meant, and keep DeepSpeed from compiling and chatting. Before its first import.

    On a CPU it would ask a compiler what it can build, and build a shared-memory operator at the first process group
    (40 s, and an error without a compiler) that training never calls. It is told that it can build nothing.
    """
    os.environ.setdefault("LOCAL_RANK", device.partition(":")[2] or "0")
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    if device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
        import deepspeed.ops

        deepspeed.ops.__compatible_ops__ = {}


def reduction_precision(precision: Precision, layout: GangLayout) -> Precision:
    """Precision in which gradients are summed over ranks. One rank sums nothing, and is spared the conversion."""
    return precision if precision == "fp32" or layout.num_ranks == 1 else layout.reduce_gradients_in


def deepspeed_config(recipe: TrainRecipe, layout: GangLayout, num_micro_batches: int, device: str) -> dict[str, Any]:
    """DeepSpeed's configuration. Loss scaling and the learning rate are the loop's.

    Raises `StageError` for what DeepSpeed does not have without ZeRO: fp32 masters and sums of gradients beside a
    network in bf16, and an optimizer in the host's memory.
    """
    bf16 = recipe.precision == "bf16"
    for asked, what in ((bf16, "precision bf16"), (layout.offload_optimizer, "offload_optimizer")):
        if asked and layout.zero_stage == 0:
            raise StageError(f"{what} needs ZeRO; set zero_stage 1, 2 or 3 in the site's layout")
    on_host = {"device": "cpu", "pin_memory": device != "cpu"}
    return {
        "train_micro_batch_size_per_gpu": layout.micro_rows,
        "gradient_accumulation_steps": num_micro_batches,
        # Without ZeRO, DeepSpeed does not tell the norm; `Engine.apply` clips there.
        "gradient_clipping": recipe.clip_norm if layout.zero_stage else 0.0,
        "bf16": {"enabled": bf16},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": reduction_precision(recipe.precision, layout),
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {
            "stage": layout.zero_stage,
            "overlap_comm": device != "cpu",
            **({"offload_optimizer": on_host} if layout.offload_optimizer else {}),
            "reduce_bucket_size": layout.reduction_buffer_values,
            "stage3_param_persistence_threshold": layout.persistent_parameter_values,
            "stage3_max_live_parameters": LIVE_PARAMETER_VALUES,
        },
        "steps_per_print": NEVER_STEPS,
    }
