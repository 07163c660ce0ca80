"""The record of a decision: all numbers in JSON, and a page that shows them; and the whole way with real models."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import numpy as np
import pytest

from inkdigits.data.dataset import VALIDATION
from inkdigits.evaluation.decision import Decision
from inkdigits.evaluation.evaluate import BLANK, Answers
from inkdigits.evaluation.gate import NON_DIGIT, Contender, Sample, judge
from inkdigits.training.config import TrainConfig

from support.drawings import picture
from support.html import Page


def decision_of(champion, challenger, *, fixed=40, broken=2):
    """A decision on 1,000 pictures by 50 users, of which the challenger fixes and breaks some."""
    n = 1000
    labels = np.arange(n) % 10
    labels[-20:] = NON_DIGIT
    at = np.arange(n)

    def answers(wrong):
        digits = np.where(wrong, (labels + 1) % 10, np.maximum(labels, 0))
        accepted = np.where(labels == NON_DIGIT, wrong, True)
        return Answers(digits, np.where(wrong, 0.5, 0.99), accepted)

    audit = Sample(
        "audit",
        labels,
        answers(at < fixed),
        answers((at >= 500) & (at < 500 + broken)),
        "ab" * 32,
        sources=np.where(at % 2, "page", "<api>"),
        titles=[f"<{i}>.png" for i in at],
        images=[picture(max(int(label), 0), 40) for label in labels],
        users=np.array([f"u{i % 50}" for i in at]),
    )
    audit.challenger.digits[501], audit.challenger.accepted[501] = BLANK, False
    sets = []
    for name, label in (("digits", 3), ("non-digits", NON_DIGIT)):
        truth = np.full(2000, label)
        alike = Answers(np.full(2000, 3), np.full(2000, 0.999), np.full(2000, label == 3))
        sets.append(Sample(name, truth, alike, alike, "cd" * 32))
    verdict = judge(Contender("old", champion, 100.0), Contender("new <b>", challenger, 104.0), audit, sets)
    return Decision(
        verdict, audit, sets, "inkdigits models gate new", datetime(2026, 11, 29, tzinfo=UTC), {"python": "3"}
    )


@pytest.mark.parametrize("broken", [2, 30])
def test_the_record_has_all_numbers_as_json_and_as_a_page(tmp_path, broken):
    decision = decision_of("11" * 32, "22" * 32, broken=broken)
    passed = broken == 2
    assert decision.verdict.passed is passed
    found = json.loads(decision.write(tmp_path / "decision.html").read_text())
    assert found["passed"] is passed
    assert (found["audit"]["fixed"], found["audit"]["broken"], found["users"]) == (40, broken, 50)
    assert found["data"] == {"audit": "ab" * 32, "digits": "cd" * 32, "non-digits": "cd" * 32}
    assert len(found["fixed"]) == 40
    assert found["broken"][0]["title"] == "<500>.png"
    assert found["broken"][1]["challenger"][0] == "blank"
    failed = [check["name"] for check in found["checks"] if not check["passed"]]
    assert failed == ([] if passed else ["better by pictures: McNemar's exact test"])
    page = (tmp_path / "decision.html").read_text()
    parsed = Page(page)
    inside = {link[1:] for link in parsed.links if link.startswith("#")}
    assert inside <= parsed.anchors
    assert len(inside) == 8
    assert not [link for link in parsed.links if not link.startswith(("#", "data:image/png"))]
    assert ">Pass<" in page if passed else ">Fail<" in page
    assert "new &lt;b&gt;" in page
    assert "<script" not in page
    assert len(re.findall(r"<li><div class=\"pictures\"><img", page)) == 24 + min(broken, 24)
    assert "&lt;api&gt;" in page
    table = decision.table()
    assert table.startswith(f"new <b> {'passes' if passed else 'does not pass'}: 40 fixed and {broken} broken of 1,000")
    assert table.count("FAIL") == (0 if passed else 1)


def test_the_fixed_set_of_mnist_is_what_trainings_hold_out():
    assert TrainConfig().validation == VALIDATION
