"""What judging texts costs: documents and megabytes a second of CPU, for each of `filter_text`'s rules.

    python -m benchmarks.text_rules --num-documents 1000

Beside them, in the same process and in turns: repeated runs of words found by a plain search over strings, and, where
datatrove is installed (`pip install datatrove nltk spacy`), its four filters on the same documents. At the end the
same characters in documents four times as long, which may not take longer.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from stages.filter_text import FilterTextRecipe, judge_text
from stages.text_quality.c4 import C4Rules, apply_c4
from stages.text_quality.fineweb import FineWebQuality, reason_of_fineweb
from stages.text_quality.gopher import GopherQuality, GopherRepetition, reason_of_quality, reason_of_repetition
from stages.text_quality.language import language_of
from stages.text_quality.split_text import SplitText
from tests.worlds.text_world import document

OURS: dict[str, Callable[[str], object]] = {
    "language": language_of,
    "repetition": lambda text: reason_of_repetition(SplitText(text), GopherRepetition()),
    "quality": lambda text: reason_of_quality(SplitText(text), GopherQuality()),
    "c4": lambda text: apply_c4(text, C4Rules()),
    "fineweb": lambda text: reason_of_fineweb(SplitText(text), FineWebQuality()),
    "all, as filter_text": lambda text: judge_text(text, FilterTextRecipe()),
}


def plain_repetition(text: str) -> float:
    """All lengths of runs of words, as strings in sets and counters."""
    words, worst = SplitText(text).tokens, 0.0
    for length in range(2, 11):
        runs = [" ".join(words[place : place + length]) for place in range(len(words) - length + 1)]
        if length <= 4 and runs:
            run, number = Counter(runs).most_common(1)[0]
            worst = max(worst, len(run) * number / len(text))
        seen: set[str] = set()
        place = chars = 0
        while place < len(runs):
            if runs[place] in seen:
                chars += len(runs[place])
                place += length
            else:
                seen.add(runs[place])
                place += 1
        worst = max(worst, chars / len(text))
    return worst


def theirs() -> dict[str, Callable[[str], object]]:
    """datatrove's filters by our names; {} where it is not installed."""
    if find_spec("datatrove") is None:
        return {}
    from datatrove.data import Document  # type: ignore[import-not-found]
    from datatrove.pipeline import filters  # type: ignore[import-not-found]

    made = {
        "repetition": filters.GopherRepetitionFilter(),
        "quality": filters.GopherQualityFilter(),
        "c4": filters.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": filters.FineWebQualityFilter(),
    }

    def judging(one: Any) -> Callable[[str], object]:
        return lambda text: one.filter(Document(text=text, id=""))

    return {name: judging(one) for name, one in made.items()}


def cpu_seconds(judge: Callable[[str], object], texts: Sequence[str]) -> float:
    """CPU seconds of judging all texts, the first one left out, which loads what is needed."""
    judge(texts[0])
    start = time.process_time()
    for text in texts:
        judge(text)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-documents", type=int, default=1000)
    asked = parser.parse_args()
    texts = [document(seed) for seed in range(asked.num_documents)]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts):,} documents, {megabytes:.1f} MB")
    beside: dict[str, Callable[[str], object]] = theirs()
    for name, judge in OURS.items():
        seconds = cpu_seconds(judge, texts)
        line = f"{name:20} {len(texts) / seconds:9,.0f} documents/s {megabytes / seconds:7.2f} MB/s"
        if name == "repetition":
            line += f", {cpu_seconds(plain_repetition, texts) / seconds:.1f} times a plain search over strings"
        if name in beside:
            line += f", {cpu_seconds(beside[name], texts) / seconds:.1f} times datatrove"
        print(line)
    judge = OURS["all, as filter_text"]
    long = ["\n\n".join(texts[place : place + 4]) for place in range(0, len(texts), 4)]
    ratio = cpu_seconds(judge, long) / cpu_seconds(judge, texts)
    print(f"documents four times as long, as many characters: {ratio:.2f} times the time")


if __name__ == "__main__":
    main()
