"""Answers the questions of a file by transformers alone and prints the answers, as JSON. Run by a test, anywhere.

`python answers_alone.py FOLDER ASKED.json`: no package of this repository can be imported. The second file holds
`conversations` in transformers' own form, with pictures by path, and `max_new_tokens`.
"""

import importlib.abc
import json
import sys
from pathlib import Path

OURS = ("neo_model", "stages", "cluster", "pipelines", "simplejpeg")
NUM_TOGETHER = 32


class OursMissing(importlib.abc.MetaPathFinder):
    """This repository is not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OURS:
            raise ImportError(f"{name} is not installed")


def main(folder: str, asked: str) -> None:
    sys.meta_path.insert(0, OursMissing())
    import torch
    import transformers
    from transformers import AutoModelForImageTextToText, AutoProcessor

    torch.manual_seed(0)
    document = json.loads(Path(asked).read_text())
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True).eval()
    answers, waiting = [], document["conversations"]
    while waiting:
        group, waiting = waiting[:NUM_TOGETHER], waiting[NUM_TOGETHER:]
        inputs = processor.apply_chat_template(group, add_generation_prompt=True, tokenize=True, return_dict=True)
        made = model.generate(**inputs, max_new_tokens=document["max_new_tokens"], do_sample=False)
        texts = processor.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        answers += [text.strip() for text in texts]
    print(json.dumps({"transformers": transformers.__version__, "answers": answers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
