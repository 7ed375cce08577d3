"""The processor makes the tokens and patches of training, from files, bytes, Pillow images and arrays."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from transformers import PreTrainedTokenizerFast

from neo_model.hub.processing_neo_chat import NEOChatProcessor
from neo_model.inputs.conversation import add_special_tokens, encode_conversation, encode_prompt
from neo_model.inputs.pictures import open_pixels, to_patches
from stages.toy_world.tokenizer import train_tokenizer

LIMITS = (4096, 40_960)


@pytest.fixture(scope="module")
def processor() -> NEOChatProcessor:
    tokenizer = train_tokenizer(["what colour is the ball? it is red", "a house of stone"] * 20, 60)
    add_special_tokens(tokenizer)
    return NEOChatProcessor(PreTrainedTokenizerFast(tokenizer_object=tokenizer), *LIMITS)


@pytest.fixture
def turned() -> bytes:
    """A JPEG that lies on its side and says so."""
    written, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(data.chelsea()).resize((120, 90)).save(written, "JPEG", exif=exif)
    return written.getvalue()


def test_pictures_are_cut_as_in_training(processor: NEOChatProcessor, turned: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(turned)
    expected, grid = to_patches(open_pixels(turned, max_pixels_px=10**6, colour="srgb"), *LIMITS)
    for given in (turned, path, str(path), f"file://{path}", Image.open(path)):
        patches, grids = processor.patches([given])
        assert grids.tolist() == [list(grid)]
        np.testing.assert_array_equal(patches.numpy(), expected)
    array = np.asarray(Image.open(path))
    assert processor.patches([array])[1].tolist() == [[grid[1], grid[0]]], "an array has no EXIF"
    assert processor.patches([]) == (None, None)
    with pytest.raises(ValueError, match="no-such.png is no file here"):
        processor.patches(["no-such.png"])


def test_a_conversation_is_encoded_as_in_training(processor: NEOChatProcessor, turned: bytes) -> None:
    asked = "which <|im_end|> or <image> is it?"
    content = [{"type": "image", "image": turned}, {"type": "text", "text": f"\n{asked}"}]
    conversation = [{"role": "user", "content": content}]
    backend = processor.tokenizer.backend_tokenizer
    grid = processor.patches([turned])[1][0].tolist()
    count = grid[0] * grid[1] // 4
    message = {"role": "user", "content": f"<image>\n{asked}", "image_tags": [0]}
    told = processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=True, return_dict=True)
    assert told["input_ids"][0].tolist() == encode_prompt(backend, [message], [count]).token_ids
    learned = [*conversation, {"role": "assistant", "content": "red"}]
    ids = processor.apply_chat_template(learned, tokenize=True)
    expected = encode_conversation(backend, [message, {"role": "assistant", "content": "red"}], [count]).token_ids
    assert ids[0].tolist() == expected
    with pytest.raises(ValueError, match="type 'video'"):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "video"}]}])


def test_a_written_prompt_gives_the_same_tokens(processor: NEOChatProcessor, turned: bytes) -> None:
    content = [{"type": "image", "image": turned}, {"type": "text", "text": "\nwhat colour?"}]
    conversations = [[{"role": "user", "content": content}], [{"role": "user", "content": "a house?"}]]
    texts = processor.apply_chat_template(conversations, add_generation_prompt=True)
    written = processor(images=[[turned], []], text=texts)
    told = processor.apply_chat_template(conversations, add_generation_prompt=True, tokenize=True, return_dict=True)
    assert set(written) == set(told) == {"input_ids", "attention_mask", "pixel_values", "grid_hw"}
    for name in told:
        assert torch.equal(written[name], told[name]), name
    assert told["attention_mask"][1].tolist() == sorted(told["attention_mask"][1].tolist()), "padding is on the left"
    with pytest.raises(ValueError, match="0 images are given for 1 places"):
        processor(text=texts)
