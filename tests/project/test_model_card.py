"""The model card: every figure from the files it is made of, and none from another model."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from inkdigits import Recognizer
from inkdigits.data.dataset import Dataset
from inkdigits.evaluation import ood, report, robustness
from inkdigits.evaluation.report import measure
from inkdigits.network import shipped_models
from inkdigits.progress import silent
from inkdigits.server.model_info import CARD_SUFFIX
from inkdigits.synthesis.corruptions import CORRUPTIONS

from support.drawings import picture
from support.paths import ROOT


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("model_card", ROOT / "scripts" / "model_card.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory, recognizer):
    """Two evaluations of the shipped model on drawn digits, in files: one with everything, one without corruptions."""
    folder = tmp_path_factory.mktemp("docs")
    images = np.stack([255 - picture(d, 28, ink_size=20, pen=pen) for d in range(10) for pen in (1.5, 2.5, 4)])
    labels = np.repeat(np.arange(10), 3)
    labels[7] = 9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "CORRUPTIONS", {name: CORRUPTIONS[name] for name in ("affine", "cropped", "cast")})
        patch.setattr(report, "PICTURES", 10)
        patch.setattr(ood, "PICTURES", 40)
        patch.setattr(ood, "LOOKALIKES", 10)
        for name, full in (("digits", False), ("mnist", True)):
            found = measure(recognizer, Dataset(name, "test", images, labels, {}), corrupt=full, progress=silent)
            found.write(folder / f"report-{name}.html")
    return folder


def test_the_card_holds_the_figures_of_its_files(script, evaluations, recognizer):
    name = recognizer.model.name
    out = evaluations / "model-card.md"
    files = [str(evaluations / f"report-{data}.json") for data in ("digits", "mnist")]
    assert script.main([name, *files, "-o", str(out)]) == 0
    text, entry = out.read_text(encoding="utf-8"), shipped_models()[name]
    found = json.loads((evaluations / "report-mnist.json").read_text())
    for wanted in (
        f"# Model card: {name}\n",
        entry["sha256"],
        f"`python scripts/train_shipped.py {name}`",
        entry["command"],
        *(each["command"] for each in entry["lineage"].values()),
        "| `first.onnx` | 46 |",
        f"{entry['parameters']:,} parameters",
        *entry["data"].values(),
        f"**{found['accuracy']:.2%}** | {found['interval'][0]:.2%} – {found['interval'][1]:.2%}",
        "[MNIST's test images](report-mnist.html)",
        "[scikit-learn's digits](report-digits.html)",
        f"{found['robustness']['means']['held out']['medium']:.1%}",
        *(kind["name"] for kind in found["refusal"]["kinds"]),
        "9 as 2 (1)",
    ):
        assert wanted in text, wanted
    assert text.index("MNIST's test images") < text.index("scikit-learn's digits")
    prose = [line for line in text.splitlines() if not line.startswith(("|", "inkdigits", "#"))]
    assert max(map(len, prose)) <= 120
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) == len(set(headings))


def test_parts_that_were_not_measured_are_left_out(script, evaluations, recognizer):
    found = json.loads((evaluations / "report-digits.json").read_text())
    text = script.card(recognizer.model.name, recognizer.model.entry, [found], [None])
    assert "Corrupted" not in text
    assert "Non-digits" not in text
    assert "| scikit-learn's digits | 30 |" in text


def test_an_evaluation_of_another_model_is_rejected(script, evaluations, recognizer, tmp_path, capsys):
    found = json.loads((evaluations / "report-digits.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps({**found, "sha256": "0" * 64}))
    assert script.main([recognizer.model.name, str(tmp_path / "other.json"), "-o", str(tmp_path / "card.md")]) == 2
    assert "evaluate it again" in capsys.readouterr().err
    assert not (tmp_path / "card.md").exists()
    assert script.main(["nobody", str(tmp_path / "other.json")]) == 2
    assert "no shipped model 'nobody'; shipped are: " in capsys.readouterr().err


def test_the_shipped_card_is_that_of_the_shipped_model(script):
    """After another model was trained: python scripts/model_card.py, as docs/evaluation.md tells."""
    model = Recognizer().model
    text = (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8")
    assert text.startswith(f"# Model card: {model.name}\n")
    assert f"SHA-256 `{model.sha256}`" in text
    assert model.path.with_suffix(CARD_SUFFIX).read_text(encoding="utf-8") == script.page(text)


def test_the_page_of_a_card_stands_alone(script):
    text = "# Model card: a<b\n\nSee [docs/x.md](x.md).\n\n| data | right |\n| --- | ---: |\n| a & b | **99%** |\n"
    page = script.page(text)
    assert "<title>Model card: a&lt;b</title>" in page
    assert "See docs/x.md." in page
    assert '<td>a &amp; b</td>\n<td class="number"><strong>99%</strong></td>' in page
    assert "style=" not in page


def test_what_is_written_follows_the_ending(script, evaluations, recognizer):
    name, report = recognizer.model.name, str(evaluations / "report-digits.json")
    out, page = evaluations / "card.md", evaluations / "card.html"
    assert script.main([name, report, "-o", str(out), "-o", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == script.page(out.read_text(encoding="utf-8"))
