"""The front matter is what huggingface_hub's own classes write, read back and validate."""

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

from stages.exporting.card_metadata import Statements, Terms, common_languages, front_matter, linked
from stages.exporting.scores import Measured

NUMBERS = {"num_questions": 100, "num_failed": 1, "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}


def measured(name: str, benchmark: str | None = None) -> Measured:
    return Measured(name=name, benchmark=benchmark, evaluation="e" * 64, questions="f" * 64, numbers=NUMBERS)


def test_a_hub_reads_what_was_stated(tmp_path) -> None:
    stated = Statements(
        title="NEO: a #model", terms=Terms(name="Apache-2.0"), base_models=("Qwen/Qwen3-1.7B-Base",),
        languages=("en", "zh"), datasets=("laion/laion2B-en",),
    )  # fmt: skip
    text = front_matter(stated, [measured("held_out"), measured("vsi", "vsi_bench")])
    (tmp_path / "README.md").write_text(text)
    data = metadata_load(tmp_path / "README.md")
    assert {name: value for name, value in data.items() if name != "model-index"} == {
        "license": "apache-2.0",
        "base_model": ["Qwen/Qwen3-1.7B-Base"],
        "language": ["en", "zh"],
        "datasets": ["laion/laion2B-en"],
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["neo", "custom_code"],
    }
    name, results = model_index_to_eval_results(data["model-index"])
    assert name == "NEO: a #model"
    assert [(one.dataset_type, one.dataset_config, one.metric_value) for one in results] == [
        ("held_out", None, 0.5), ("vsi_bench", "vsi", 0.5),
    ]  # fmt: skip
    assert results[0].metric_args == {"num_questions": 99, "low_95": 0.4, "high_95": 0.6}


@pytest.mark.parametrize(
    ("terms", "written"),
    [
        (Terms(), {}),
        (Terms(name="MIT"), {"license": "mit"}),
        (
            Terms(name="Tongyi Qianwen", link="LICENSE"),
            {"license": "other", "license_name": "tongyi-qianwen", "license_link": "LICENSE"},
        ),
        (Terms(name="Tongyi Qianwen"), {"license": "unknown"}),
        (Terms(name="other"), {"license": "unknown"}),
        (Terms(name="Other", link="https://x.test/L"), {"license": "unknown", "license_link": "https://x.test/L"}),
    ],
)
def test_a_licence_that_no_hub_lists_is_named(terms: Terms, written: dict[str, str]) -> None:
    data = yaml.safe_load(front_matter(Statements(title="x", terms=terms)).strip("-\n"))
    assert {name: value for name, value in data.items() if name.startswith("license")} == written


def test_the_text_of_an_unlisted_licence_in_the_folder_is_its_link() -> None:
    own = Statements(title="x", terms=Terms(name="my-own"))
    files = {"README.md", "LICENSE.md", "LICENSE.txt"}
    assert linked(own, files).terms.link == "LICENSE.md"
    assert linked(own, files | {"LICENSE"}).terms.link == "LICENSE"
    assert linked(own, {"LICENSE.txt"}).terms.link is None
    stated = Statements(title="x", terms=Terms(name="my-own", link="https://x.test/L"))
    listed = Statements(title="x", terms=Terms(name="MIT"))
    assert [linked(one, files) for one in (stated, listed)] == [stated, listed]


@pytest.mark.parametrize(
    "title", ["---", "a\n---\nlicense: mit", "{{x}}", "'\"", "null", "# x", "\ud7ff é 漢", "x" * 200]
)
def test_no_title_breaks_out_of_the_front_matter(title: str) -> None:
    card = ModelCard(front_matter(Statements(title=title), [measured("own")]) + "\n# text\n")
    assert card.data.model_name == title
    assert card.data.license is None
    assert card.text.strip() == "# text"


def test_languages_are_those_that_are_not_rare() -> None:
    carried = [
        {"language": {"en": 900, "ZH": 90, "": 5000, "(other values)": 4, "klingon": 600}},
        {"language": {"zh": 10, "de": 9}, "licence": {"xx": 5}},
    ]
    assert common_languages(carried) == ("en", "zh")
    assert common_languages([]) == ()
