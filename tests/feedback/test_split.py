"""Clients are for training or for measuring, for ever; and what of their corrections is used."""

import os

import numpy as np
import pytest
from sqlalchemy import select

from inkdigits.feedback import history
from inkdigits.feedback.queries import every
from inkdigits.feedback.review import decide
from inkdigits.feedback.split import (
    GATE,
    GUARANTEE,
    NON_DIGIT,
    TRAIN,
    assign,
    audit,
    to_train_on,
    trained_rows,
)
from inkdigits.feedback.tables import GateRun, Promotion, UserSplit

from support.corrections import answer, submission

CLIENTS = 400


def parts(store):
    with store.engine.connect() as connection:
        return dict(connection.execute(select(UserSplit.client, UserSplit.part)).all())


def client(i):
    return f"client-{i:04}"


def add(store, *submissions):
    for start in range(0, len(submissions), 100):
        store.add(list(submissions[start : start + 100]))


def test_half_of_the_clients_train_and_a_client_keeps_its_part(store):
    add(store, *(submission("1", client=client(i)) for i in range(CLIENTS)), submission("1"))
    assign(store.engine)
    before = parts(store)
    shares = {part: list(before.values()).count(part) / CLIENTS for part in (TRAIN, GATE, GUARANTEE)}
    assert sum(shares.values()) == pytest.approx(1)
    for part, share in ((TRAIN, 0.5), (GATE, 0.3), (GUARANTEE, 0.2)):
        assert abs(shares[part] - share) < 4 * (share * (1 - share) / CLIENTS) ** 0.5
    add(store, *(submission("2", client=client(i)) for i in range(CLIENTS + 5)))
    assign(store.engine)
    after = parts(store)
    assert before.items() <= after.items()
    assert len(after) == CLIENTS + 5


def of_part(store, part):
    return [name for name, found in parts(store).items() if found == part]


def test_what_is_trained_on_and_what_measures(store):
    looks = [os.urandom(784) for _ in range(8)]
    add(store, *(submission("1", client=client(i)) for i in range(40)))
    assign(store.engine)
    trainer, judge = of_part(store, TRAIN)[0], of_part(store, GATE)[0]
    rows = len(list(every(store.engine)))
    said = [
        submission("3", answer(seen=looks[0], confidence=0.5), client=trainer),
        submission("", answer(seen=looks[1], confidence=0.5), client=trainer),
        submission("5", answer(seen=looks[2], confidence=0.5)),  # of nobody: trained on
        submission("7", answer(seen=looks[3], audit=True), kind="confirmed", client=judge),
        submission("4", answer(seen=looks[4], audit=True, confidence=0.5), client=judge),
        submission("4", answer(seen=looks[5], confidence=0.5), client=judge),  # no audit: of no use
        submission("7", answer(seen=looks[0], audit=True), kind="confirmed", client=judge),  # trained on by another
        submission("9", answer(seen=looks[6], audit=True, confidence=0.5), client=judge),  # not reviewed
    ]
    add(store, *said)
    new = list(every(store.engine))[rows:]
    assert len(audit(store.engine)) == 0
    for each in (new[0], new[3], new[6]):
        decide(store.engine, each.row, "ada", "accept")
    decide(store.engine, new[4].row, "ada", "relabel", "2")
    used = to_train_on(store.engine)
    by_look = dict(zip((image.tobytes() for image in used.images), used.labels.tolist(), strict=True))
    assert [by_look.get(look) for look in looks] == [3, NON_DIGIT, 5, None, None, None, None, None]
    assert set(used.clients.tolist()) == {"", *of_part(store, TRAIN)}
    measured = audit(store.engine)
    assert [
        (image.tobytes(), label) for image, label in zip(measured.images, measured.labels.tolist(), strict=True)
    ] == [
        (looks[3], 7),
        (looks[4], 2),
    ]
    assert set(measured.clients) == {judge}
    assert len(audit(store.engine, GUARANTEE)) == 0
    assert used.take([0]).sha256 != used.take([1]).sha256
    assert np.array_equal(used.take([1]).rows, used.rows[1:2])


def test_a_number_is_not_trained_on(store):
    details = {"text": "12", "numbers": []}
    of = answer()
    number = type(of)("number", "12", 0.9, details, None, of.model, of.at, os.urandom(16).hex(), os.urandom(16).hex())
    add(store, submission("13", number, original=b"x"))
    found = to_train_on(store.engine)
    assert (len(found), found.skipped, found.images.shape) == (0, 1, (0, 28, 28))


def test_the_history_of_models(store):
    add(store, *(submission(str(i), answer(confidence=0.5)) for i in range(3)))
    rows = [each.row for each in every(store.engine)]
    recipe = {"command": "inkdigits learn"}
    for _ in range(2):  # the second time, nothing is added
        history.add_model(
            store.engine, "c" * 64, "new", parent="a" * 64, path="new.onnx", recipe=recipe, rows=[*rows, 1]
        )
    assert trained_rows(store.engine, "c" * 64) == set(rows)
    assert trained_rows(store.engine, "a" * 64) == set()
    decision = {
        "challenger": {"sha256": "c" * 64},
        "champion": {"sha256": "a" * 64},
        "audit": {"name": "audit", "n": 1000, "fixed": 20, "broken": 3},
        "data": {"audit": "d" * 64},
        "checks": [{"value": 0.001}, {"value": 0.002}],
        "users": 60,
        "earlier": 1,
        "level": 0.007,
        "passed": True,
    }
    run = history.add_gate_run(store.engine, decision)
    entry = {
        "kind": "promotion",
        "from": {"name": "old", "sha256": "a" * 64},
        "to": {"name": "new", "sha256": "c" * 64},
        "by": "ada",
        "reason": "better",
        "decision": {},
    }
    history.add_promotion(store.engine, {**entry, "decision": {"level": 0.007}})
    back = {**entry, "kind": "rollback", "from": entry["to"], "to": entry["from"], "decision": None, "reason": ""}
    history.add_promotion(store.engine, back)
    with store.engine.connect() as connection:
        [kept] = connection.execute(select(GateRun.try_number, GateRun.decision, GateRun.p_users)).all()
        promotions = connection.execute(
            select(Promotion.model_sha256, Promotion.replaced, Promotion.gate_run_id, Promotion.reason)
        ).all()
    assert tuple(kept) == (2, "promote", 0.002)
    assert [tuple(each) for each in promotions] == [
        ("c" * 64, "a" * 64, run, "promotion: better"),
        ("a" * 64, "c" * 64, None, "rollback"),
    ]
    first = next(every(store.engine)).id
    assert store.forget(first).models == ("c" * 64,), "removing a picture reports the models that were trained on it"
    assert trained_rows(store.engine, "c" * 64) == set(rows[1:])
