"""Loads a folder by transformers alone and prints what it answers, as JSON. Run by tests, in any environment.

`python loads_alone.py FOLDER PICTURES.json`: no package of this repository can be imported. The second file holds
`questions` [{"question", "pictures": [path]}]; printed are the answers by each way to ask.
"""

import importlib.abc
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

OURS = ("neo_model", "stages", "cluster", "pipelines", "simplejpeg")


class Nowhere(importlib.abc.MetaPathFinder):
    """This repository is not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OURS:
            raise ImportError(f"{name} is not installed")


def main(folder: str, asked: str) -> None:
    sys.meta_path.insert(0, Nowhere())
    import torch
    from transformers import (
        AutoConfig,
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoProcessor,
        AutoTokenizer,
    )

    torch.manual_seed(0)
    trusted = {"trust_remote_code": True}
    questions = json.loads(Path(asked).read_text())["questions"]
    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=False, **trusted)
    processor = AutoProcessor.from_pretrained(folder, **trusted)
    model = AutoModel.from_pretrained(folder, **trusted).eval()
    told = {"config": type(AutoConfig.from_pretrained(folder, **trusted)).__name__, "chat": [], "saved": []}
    kinds = [AutoModelForCausalLM, AutoModelForImageTextToText]
    told["classes"] = [type(kind.from_pretrained(folder, **trusted)).__name__ for kind in kinds]
    told["half"] = str(AutoModel.from_pretrained(folder, dtype=torch.bfloat16, **trusted).dtype)

    def chat(model, tokenizer, one):
        patches, grids = processor.patches(one["pictures"])
        settings = {"max_new_tokens": 12, "do_sample": False}
        return model.chat(
            tokenizer, pixel_values=patches, grid_hw=grids, question=one["question"], generation_config=settings
        )

    told["chat"] = [chat(model, tokenizer, one) for one in questions]
    conversations = []
    for one in questions:
        images = [{"type": "image", "path": path} for path in one["pictures"]]
        between = {"type": "text", "text": "\n"}
        content = [part for image in images for part in (image, between)] + [{"type": "text", "text": one["question"]}]
        conversations.append([{"role": "user", "content": content}])
    inputs = processor.apply_chat_template(conversations, add_generation_prompt=True, tokenize=True, return_dict=True)
    length = inputs["input_ids"].shape[1]
    generated = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    texts = processor.batch_decode(generated[:, length:], skip_special_tokens=True)
    told["generate"] = [text.strip() for text in texts]
    recomputed = model.generate(**inputs, max_new_tokens=12, do_sample=False, use_cache=False)
    texts = processor.batch_decode(recomputed[:, length:], skip_special_tokens=True)
    told["without cache"] = [text.strip() for text in texts]
    beams = model.generate(**inputs, max_new_tokens=4, num_beams=3, num_return_sequences=2, do_sample=False)
    told["beams"] = list(beams.shape)
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    loss = model(**inputs, labels=labels).loss
    loss.backward()
    told["loss"] = float(loss)
    with tempfile.TemporaryDirectory() as copy:
        model.save_pretrained(copy)
        tokenizer.save_pretrained(copy)
        processor.save_pretrained(copy)
        again = AutoModel.from_pretrained(copy, **trusted).eval()
        told["saved"] = [chat(again, AutoTokenizer.from_pretrained(copy, **trusted), one) for one in questions]
        told["saved template"] = AutoProcessor.from_pretrained(copy, **trusted).min_pixels
    if importlib.util.find_spec("accelerate"):
        with tempfile.TemporaryDirectory() as offload:
            stack, num_layers = "language_model.model", model.config.num_hidden_layers
            near = ["vision_model", f"{stack}.embed_tokens", f"{stack}.norm"]
            near += ["language_model.lm_head"] if model.get_output_embeddings() else []
            places = dict.fromkeys(near, "cpu") | {f"{stack}.layers.{number}": "disk" for number in range(num_layers)}
            spread = AutoModel.from_pretrained(folder, device_map=places, offload_folder=offload, **trusted).eval()
            told["offloaded"] = [chat(spread, tokenizer, one) for one in questions]
        automatic = AutoModel.from_pretrained(folder, device_map="auto", low_cpu_mem_usage=True, **trusted)
        told["automatic"] = [chat(automatic.eval(), tokenizer, one) for one in questions]
    told["names"] = sorted(model.state_dict()) == sorted(again.state_dict())
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
