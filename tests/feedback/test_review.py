"""Reviewing in the store: queues, verdicts and what follows from them, agreement, and how far one client is trusted."""

import os
import random
import uuid

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from sqlalchemy import select, text

from inkdigits.feedback import migrate
from inkdigits.feedback.queries import every, listed
from inkdigits.feedback.queues import QUEUES, next_items
from inkdigits.feedback.reread import Reread
from inkdigits.feedback.review import agreement, check_reviewer, decide, progress
from inkdigits.feedback.store import Store
from inkdigits.feedback.tables import Review
from inkdigits.feedback.trust import CLIENT_CAP, COPIES, DISTRUST_LEAST, FLOOD, trainable

from support.corrections import MODEL, answer, submission

ME, YOU = "ada", "grace"
BATCH = 100


@pytest.fixture
def small(tmp_path):
    """A store in SQLite, for what does not depend on the database."""
    opened = Store(str(tmp_path / "feedback.db"))
    yield opened
    opened.close()


def add(store, *submissions):
    """Add corrections, and return them as a reviewer finds them."""
    ids = [receipt.id for receipt in store.add(list(submissions))]
    by_id = {each.id: each for each in every(store.engine)}
    return [by_id[id] for id in ids]


def again(store, each):
    return next(one for one in every(store.engine) if one.row == each.row)


def offered(store, queue, reviewer=ME, limit=50, model=MODEL):
    return [item.listed.row for item in next_items(store.engine, queue, reviewer, model=model, limit=limit)]


def test_the_queues_give_the_most_interesting_first(store):
    doubtful, sure, wrong = (
        submission("1", answer(confidence=0.4)),
        submission("7", answer(confidence=0.99), kind="confirmed"),
        submission("1", answer(confidence=0.9999)),
    )
    a, b, c = add(store, doubtful, sure, wrong)
    assert [a.status, b.status, c.status] == ["pending", "pending", "held"]
    assert offered(store, "least-sure") == [a.row, b.row, c.row]
    assert offered(store, "suspected") == [c.row, a.row]
    assert offered(store, "held") == [c.row]
    assert offered(store, "audit") == offered(store, "disputed") == offered(store, "second") == []
    look = os.urandom(784)
    d, e = add(store, submission("3", answer(seen=look)), submission("5", answer(seen=look)))
    assert set(offered(store, "disputed")) == {d.row, e.row}
    [item] = next_items(store.engine, "duplicates", ME, model=MODEL)
    assert [each.row for each in item.group] == [d.row, e.row]


def test_the_audit_sample_is_blind_in_every_queue(small):
    [marked] = add(small, submission("1", answer(confidence=0.3, audit=True)))
    for queue in ("audit", "least-sure", "suspected"):
        [item] = next_items(small.engine, queue, ME, model=MODEL)
        assert item.listed.row == marked.row
        assert item.blind
    [other] = add(small, submission("1", answer(confidence=0.2)))
    assert [i.blind for i in next_items(small.engine, "least-sure", ME, model=MODEL, limit=2)] == [False, True]
    decide(small.engine, other.row, YOU, "accept")
    [item] = next_items(small.engine, "second", ME, model=MODEL)
    assert item.blind, "who repeats a verdict must not be swayed by it"


def test_the_status_follows_the_verdicts_and_undo_goes_back(store):
    [each] = add(store, submission("1"))

    def said(reviewer, verdict, label=None):
        [decision] = decide(store.engine, each.row, reviewer, verdict, label)
        found = again(store, each)
        assert (decision.status, decision.final) == (found.status, found.final)
        return found.status, found.final, decision.is_new

    assert said(ME, "accept") == ("accepted", "1", True)
    assert said(ME, "accept") == ("accepted", "1", False), "the same again adds nothing"
    assert said(ME, "relabel", "1") == ("accepted", "1", False), "to relabel with its own label is to accept it"
    assert said(YOU, "relabel", "4") == ("held", None, True), "one against one"
    assert said("edsger", "relabel", "4") == ("relabeled", "4", True)
    assert said("edsger", "undo") == ("held", None, True)
    assert said("edsger", "undo") == ("held", None, False)
    assert said(YOU, "reject") == ("held", None, True)
    assert said(ME, "reject") == ("rejected", None, True)
    assert said(ME, "undo") == ("held", None, True), "the verdict before counts again"
    assert said(ME, "undo") == ("rejected", None, True)
    assert said(YOU, "skip") == ("rejected", None, True), "to skip takes nothing back"
    assert [said(YOU, "undo")[0] for _ in range(3)] == ["rejected", "relabeled", "pending"]
    with store.engine.connect() as connection:
        verdicts = connection.execute(select(Review.verdict).order_by(Review.id)).scalars().all()
    assert verdicts[:3] == ["accept", "relabel", "relabel"]
    assert len(verdicts) == 12, "every decision is a row, those that were taken back, too"


def test_wrong_labels_and_unknown_numbers_change_nothing(small):
    [each] = add(small, submission("1"))
    for label in ("77", "x", None, 7):
        with pytest.raises(ValueError, match="expected"):
            decide(small.engine, each.row, ME, "relabel", label)
    assert decide(small.engine, each.row + 1, ME, "accept") == []
    assert again(small, each).status == "pending"
    for name in ("", " ada", "a" * 41, "<b>", 7, "a\nb"):
        with pytest.raises(ValueError, match="your name"):
            check_reviewer(name)
    assert check_reviewer("Łukasz K.") == "Łukasz K."


def test_a_verdict_takes_it_out_of_the_queues_and_undo_puts_it_back(small):
    a, b = add(small, submission("1", answer(confidence=0.4)), submission("1", answer(confidence=0.5)))
    decide(small.engine, a.row, ME, "skip")
    assert offered(small, "least-sure") == [b.row]
    assert offered(small, "least-sure", YOU) == [a.row, b.row], "another may know better"
    decide(small.engine, a.row, ME, "undo")
    assert offered(small, "least-sure") == [a.row, b.row]
    decide(small.engine, a.row, ME, "accept")
    assert offered(small, "least-sure", YOU) == [b.row]
    assert offered(small, "second", YOU) == [a.row]
    assert offered(small, "second", ME) == []


def test_one_verdict_settles_a_group_of_duplicates_and_one_undo_takes_it_back(store):
    look = os.urandom(784)
    first = add(store, submission("3", answer(seen=look)))
    others = add(store, *(submission("3", answer(seen=look)) for _ in range(3)), submission("5", answer(seen=look)))
    audit = add(store, submission("3", answer(seen=look, audit=True)))
    elsewhere = add(store, submission("3"))
    decide(store.engine, first[0].row, YOU, "accept")
    decided = decide(store.engine, others[0].row, ME, "relabel", "3", group=True)
    assert {d.row for d in decided} == {each.row for each in others}
    assert [again(store, each).status for each in others] == ["accepted"] * 3 + ["relabeled"]
    assert [again(store, each).status for each in (*audit, *elsewhere)] == ["held", "pending"]
    decide(store.engine, others[0].row, ME, "undo", group=True)
    assert {again(store, each).status for each in others} <= {"pending", "held"}
    assert again(store, first[0]).status == "accepted"


def test_agreement_is_cohens_kappa(small):
    rng = random.Random(5)
    rows = [each.row for each in add(small, *(submission("1", answer(confidence=0.5)) for _ in range(60)))]
    said = {ME: {}, YOU: {}}
    for row in rows:
        one = rng.choice(["1", "1", "4", "reject"])
        other = one if rng.random() < 0.7 else rng.choice(["1", "7", "reject"])
        for reviewer, verdict in ((ME, one), (YOU, other)):
            decide(small.engine, row, reviewer, *(("reject",) if verdict == "reject" else ("relabel", verdict)))
            said[reviewer][row] = verdict
    decide(small.engine, rows[0], "edsger", "accept")
    decide(small.engine, rows[0], "edsger", "undo")
    [found] = agreement(small.engine)
    a, b = ([said[name][row] for row in rows] for name in (ME, YOU))
    assert found.reviewers == (ME, YOU)
    assert (found.both, found.same) == (60, sum(map(str.__eq__, a, b)))
    assert found.kappa == pytest.approx(cohen_kappa_score(a, b))
    report = progress(small.engine, ME, model=MODEL)
    assert report.today == 60
    assert sum(report.statuses.values()) == 60


def test_what_a_newer_model_answers_differently(small, recognizer):
    def drawn(digit):  # what the network saw
        return np.rint(recognizer.predict(known(digit)).image * 255).astype(np.uint8).tobytes()

    from inkdigits.self_test import known_digit as known

    same = submission("7", answer(7, seen=drawn(7)), kind="confirmed")
    changed = submission("3", answer(8, seen=drawn(3)))
    strokes = b'{"strokes": [[[0, 0], [40, 0], [15, 60]], [[80, 0], [80, 60]]]}'
    number = numbered("11", strokes)
    rows = [each.row for each in add(small, same, changed, number)]
    settled = add(small, submission("2", answer(1, seen=drawn(2))))[0].row
    decide(small.engine, settled, YOU, "accept")
    model = recognizer.model.sha256
    reread = Reread(small.engine, recognizer)
    assert sum(iter(reread.step, 0)) == 3, "what is settled is not read again"
    assert reread.done
    assert Reread(small.engine, recognizer).step() == 0, "each picture is read once by each model"
    items = next_items(small.engine, "changed", ME, model=model, limit=9)
    assert {(item.listed.row, item.now) for item in items} == {(rows[1], "3"), (rows[2], "71")}
    assert offered(small, "changed", model="f" * 64) == []


def numbered(said, strokes):
    from inkdigits.feedback.answers import Answer
    from inkdigits.feedback.submission import STROKES, Original, Submission

    details = {"text": said, "numbers": [{"text": said, "confidence": 0.8, "box": [0, 0, 9, 9], "characters": []}]}
    of = Answer("number", said, 0.8, details, None, MODEL, answer().at, uuid.uuid4().hex, uuid.uuid4().hex)
    return Submission(str(uuid.uuid4()), "b" * 64, "corrected", "71", of, Original(strokes, STROKES))


def test_reading_again_is_bounded_and_goes_on_where_it_was(small, recognizer):
    images = [os.urandom(784) for _ in range(300)]
    for some in chunks(images):
        add(small, *(submission("1", answer(seen=seen)) for seen in some))
    reread = Reread(small.engine, recognizer)
    assert [reread.step(), reread.step(), reread.step(), reread.done] == [256, 44, 0, True]


def chunks(items):
    return [items[i : i + BATCH] for i in range(0, len(items), BATCH)]


# Trust


def test_floods_copies_and_contradictions_wait_for_a_person(small):
    flood = [submission("1", client="c" * 16) for _ in range(FLOOD + 1)]
    found = [each for some in chunks(flood) for each in add(small, *some)]
    assert [each.status for each in found] == ["pending"] * FLOOD + ["held"]
    look = os.urandom(784)
    copies = [add(small, submission("3", answer(seen=look)))[0].status for _ in range(COPIES + 1)]
    assert copies == ["pending"] * COPIES + ["held"]
    look = os.urandom(784)
    both = add(small, submission("3", answer(seen=look)), submission("4", answer(seen=look)))
    assert not {each.row for each in both} & {each.row for each, _ in trainable(small.engine)}
    decide(small.engine, both[1].row, ME, "accept")
    assert both[1].row in {each.row for each, _ in trainable(small.engine)}


def test_a_client_whose_corrections_are_found_wrong_is_held(small):
    def of(client, count):
        return add(small, *(submission("1", client=client) for _ in range(count)))

    bad, good = of("wrong-on-purpose", 8), of("a-good-client", 8)
    for each in bad[: DISTRUST_LEAST - 1]:
        decide(small.engine, each.row, ME, "reject")
    assert again(small, bad[-1]).status == "pending"
    decide(small.engine, bad[DISTRUST_LEAST].row, ME, "relabel", "7")
    assert again(small, bad[-1]).status == "held"
    assert of("wrong-on-purpose", 1)[0].status == "held"
    for each in good[:4]:
        decide(small.engine, each.row, ME, "accept")
    for each in good[4:7]:
        decide(small.engine, each.row, ME, "reject")
    assert [again(small, good[7]).status, of("a-good-client", 1)[0].status] == ["pending", "pending"]


def test_what_one_client_weighs_is_capped_until_a_person_accepts_it(small):
    clients = ["c" * 16, None, "d" * 16]
    sent = {client: [] for client in clients}
    for client in clients:
        for some in chunks([submission("1", client=client) for _ in range(CLIENT_CAP + 10)]):
            sent[client] += add(small, *some)
    used = [each for each, _ in trainable(small.engine)]
    assert [sum(each.client == client for each in used) for client in clients] == [CLIENT_CAP] * 3
    last = sent["c" * 16][-1]
    decide(small.engine, last.row, ME, "relabel", "4")
    decide(small.engine, sent["d" * 16][0].row, ME, "reject")
    labels = {each.row: label for each, label in trainable(small.engine)}
    assert labels[last.row] == "4"
    assert len(labels) == 3 * CLIENT_CAP + 1
    assert sent["d" * 16][0].row not in labels


def test_poison_of_a_fifth_weighs_little_and_is_held_once_it_is_seen(small):
    """One client sends a fifth of all corrections, each with a wrong label that looks plausible to the model."""
    honest = [submission("7", answer(7, confidence=0.7), kind="confirmed", client=f"honest-{i:04}") for i in range(320)]
    poison = [submission("1", answer(7, confidence=0.7), client="the-poisoner") for _ in range(80)]
    mixed = [*honest, *poison]
    random.Random(3).shuffle(mixed)
    for some in chunks(mixed):
        add(small, *some)
    used = [label for _, label in trainable(small.engine)]
    assert used.count("1") == CLIENT_CAP
    for item in next_items(small.engine, "suspected", ME, model=MODEL, limit=DISTRUST_LEAST):
        decide(small.engine, item.listed.row, ME, "reject")
    used = [label for _, label in trainable(small.engine)]
    assert used.count("1") == 0
    assert used.count("7") == 320


def test_verdicts_go_with_what_is_forgotten(small):
    [each] = add(small, submission("1", client="c" * 16))
    decide(small.engine, each.row, ME, "relabel", "4")
    small.forget_client("c" * 16)
    with small.engine.connect() as connection:
        assert connection.execute(select(Review.id)).all() == []


# A million rows


ROWS = 1_000_000


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """The plan that SQLite has for each statement that review makes, with statistics of a large store."""
    path = tmp_path_factory.mktemp("large") / "feedback.db"
    store = Store(str(path))
    looks = [os.urandom(784) for _ in range(20)]
    store.add([submission("1", answer(seen=look)) for look in looks * 2])
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
        for table in ("picture", "reading", "correction", "review"):
            connection.execute(
                text("UPDATE sqlite_stat1 SET stat = :rows || substr(stat, instr(stat, ' ')) WHERE tbl = :table"),
                {"rows": str(ROWS), "table": table},
            )
    store.close()
    store = Store(str(path))
    yield store
    store.close()


def statements(store, call):
    """What SQLite says that it does for each statement of a call."""
    from sqlalchemy import event

    plans = []

    def explain(connection, cursor, statement, parameters, context, many):
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE")) and not many:
            plan = connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append((statement, [row[3] for row in plan]))

    event.listen(store.engine, "before_cursor_execute", explain)
    try:
        call()
    finally:
        event.remove(store.engine, "before_cursor_execute", explain)
    return plans


INDICES = {  # that a queue begins with
    "held": "ix_correction_status_created",
    "suspected": "ix_correction_status_suspicion",
    "disputed": "ix_correction_status_disputes",
    "least-sure": "ix_correction_status_confidence",
    "changed": "ix_reading_model_sha256_is_change",
    "duplicates": "ix_correction_status_is_copy",
    "audit": "ix_correction_status_is_audit_created",
    "second": "INTEGER PRIMARY KEY",
}


@pytest.mark.parametrize("queue", QUEUES)
def test_each_queue_comes_from_its_index(plans, queue):
    made = statements(plans, lambda: next_items(plans.engine, queue, ME, model=MODEL, limit=20))
    for statement, plan in made:
        scans = [step.split()[1] for step in plan if step.startswith("SCAN")]
        assert not {"picture", "reading", "correction"} & set(scans), (statement, plan)
    first = [step for step in made[0][1] if step.startswith("SEARCH")]
    assert INDICES[queue] in first[0], made[0]
    assert not [step for step in first if "ix_correction_status" in step and INDICES[queue] not in step], made[0]


def test_verdicts_and_reading_again_come_from_an_index(plans, recognizer):
    row = listed(plans.engine)[0].row
    made = statements(plans, lambda: decide(plans.engine, row, ME, "reject", group=True))
    made += statements(plans, Reread(plans.engine, recognizer).step)
    for statement, plan in made:
        by_key = ("LIMIT" in statement or "max(" in statement) and "correction.id" in statement
        scans = [step for step in plan if step.startswith("SCAN") and not by_key]
        assert not [s for s in scans if s.split()[1] in ("picture", "reading", "correction")], (statement, plan)


def test_a_database_of_the_first_revision_is_brought_up_to_date_and_back(store):
    [each] = add(store, submission("1"))
    decide(store.engine, each.row, ME, "accept")
    migrate.downgrade(store.engine, "0001")
    assert migrate.upgrade(store.engine)
    found = again(store, each)
    assert (found.status, found.final) == ("accepted", None)
    assert [label for _, label in trainable(store.engine)] == ["1"]
