"""Asks a folder through lmms-eval's own `neo_ov`, and without it, and prints both answers as JSON. Run by a test.

`python asked_by_lmms_eval.py FOLDER ASKED.json` with a Python that has lmms-eval, as `loads_alone.py` is.
"""

import json
import sys
from pathlib import Path


def main(folder: str, asked: str) -> None:
    import torch
    from lmms_eval.api.instance import Instance
    from lmms_eval.models.chat.neo_ov import NeoOV
    from transformers import AutoModel, AutoProcessor, AutoTokenizer

    questions = json.loads(Path(asked).read_text())["questions"]
    limits = json.loads((Path(folder) / "preprocessor_config.json").read_text())
    kit = NeoOV(
        pretrained=folder, device="cpu", device_map="cpu", system_prompt=None, max_new_tokens=12,
        min_pixels=limits["min_pixels"], max_pixels=limits["max_pixels"],
    )  # fmt: skip

    def messages(one):
        images = [{"type": "image", "url": path} for path in one["pictures"]]
        return [{"role": "user", "content": [*images, {"type": "text", "text": one["question"]}]}]

    kit.task_dict = {"own": {"test": questions}}
    meta = {"task": "own", "doc_id": 0, "repeats": 1}
    requests = [
        Instance("generate_until", ("", messages, {"until": ["\n\n"]}, number, "own", "test"), number, metadata=meta)
        for number in range(len(questions))
    ]
    told = [result.text for result in kit.generate_until(requests)]

    trusted = {"trust_remote_code": True}
    tokenizer = AutoTokenizer.from_pretrained(folder, **trusted)
    processor = AutoProcessor.from_pretrained(folder, **trusted)
    model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16, **trusted).eval()
    alone, same_pictures = [], []
    for one in questions:
        patches, grids = processor.patches(one["pictures"])
        theirs, their_grids = kit._build_image_inputs(one["pictures"], {})
        patches = patches if patches is None else patches.to(torch.bfloat16)
        same_pictures.append(
            theirs is None if patches is None else torch.equal(patches, theirs) and torch.equal(grids, their_grids)
        )
        question = "<image>\n" * len(one["pictures"]) + one["question"]
        settings = {"max_new_tokens": 12, "do_sample": False}
        alone.append(
            model.chat(tokenizer, pixel_values=patches, grid_hw=grids, question=question, generation_config=settings)
        )
    print(json.dumps({"kit": told, "alone": alone, "same pictures": same_pictures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
