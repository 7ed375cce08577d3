"""Tokenizer files that were damaged or made to harm are taken, or refused in one clean sentence: no panic gets out.

What is taken is tried: it tokenises texts that make patterns backtrack, and gives them back within bounds.
"""

import json
import random
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from neo_model.inputs.conversation import load_tokenizer
from stages.contract import StageError
from stages.model_folders.folder import ForeignFolder
from stages.model_folders.tokenizer import find_tokenizer
from stages.origins.pinning import pin_source
from stages.toy_world.tokenizer import save_tokenizer, train_tokenizer
from tests.worlds.mutated_tokenizers import mutated_json, mutated_lines

NUM_MUTATIONS = 150
MAX_MESSAGE_CHARACTERS = 2_000
MAX_TOKENS_OF_A_CHARACTER = 300
VOCAB_SIZE = 600
TEXTS = ("a" * 60 + "!", "ab" * 2_000, " " * 5_000 + "x", "\n \n" * 500, "\u0301" * 300, "Gr\u00fc\u00dfe \U0001f44d")
FAST = ("tokenizer.json",)
SLOW = ("vocab.json", "merges.txt", "tokenizer_config.json", "added_tokens.json")


def original(folder: Path) -> dict[str, bytes]:
    """The files of a sound tokenizer of the Qwen3 family, in the fast form and in the slow one."""
    learned = train_tokenizer(["a red square on the green disc of the left, abababab"] * 20, 300)
    save_tokenizer(learned, folder, 4096)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    added = {token.content: number for number, token in learned.get_added_tokens_decoder().items()}
    return files | {"added_tokens.json": json.dumps(added).encode()}


def mutated(files: dict[str, bytes], number: int) -> dict[str, bytes]:
    """One form of the tokenizer with one file of it mutated."""
    rng = random.Random(number)
    form = FAST if rng.random() < 0.6 else SLOW
    chosen = rng.choice(form)
    taken = {name: files[name] for name in form}
    if chosen == "added_tokens.json":
        del taken["tokenizer_config.json"]  # it would be read instead
    if chosen == "merges.txt":
        taken[chosen] = mutated_lines(files[chosen].decode().splitlines(), rng)
    else:
        taken[chosen] = mutated_json(json.loads(files[chosen]), rng)
    return taken


def end_of(files: dict[str, bytes], root: Path, scratch: Path) -> str:
    """`taken` or `refused`, after what was said or made of it was looked at. Lets out whatever is no refusal."""
    root.mkdir()
    for name, content in files.items():
        (root / name).write_bytes(content)
    try:
        found = find_tokenizer(ForeignFolder(pin_source("mine", [str(root)])), scratch, VOCAB_SIZE)
    except StageError as error:
        said = str(error)
        assert said.isprintable() and len(said) < MAX_MESSAGE_CHARACTERS, ascii(said[:MAX_MESSAGE_CHARACTERS])
        return "refused"
    (root / "tokenizer.json").write_bytes(found.content)
    tokenizer = load_tokenizer(root, vocab_size=VOCAB_SIZE)
    for text in TEXTS:
        encoded = tokenizer.encode(text, add_special_tokens=False)
        assert len(encoded.ids) <= MAX_TOKENS_OF_A_CHARACTER * len(text)
        tokenizer.decode(encoded.ids)
    return "taken"


def check(first: int, stop: int) -> Counter[str]:
    """What `make test-hostile` calls, with other numbers each time."""
    ends: Counter[str] = Counter()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = original(folder)
        for number in range(first, stop):
            ends[end_of(mutated(files, number), folder / f"{number}", folder / f"scratch-{number}")] += 1
    return ends


def test_a_mutated_tokenizer_is_taken_or_refused_in_words() -> None:
    ends = check(0, NUM_MUTATIONS)
    assert ends["taken"] > NUM_MUTATIONS // 20 and ends["refused"] > NUM_MUTATIONS // 2
