"""The store, in SQLite and in PostgreSQL: exactly once, and out again without a trace."""

import random
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import func, insert, inspect, select, text

from inkdigits import SettingError, StoreError
from inkdigits.feedback import migrate, trust
from inkdigits.feedback.answers import Signer
from inkdigits.feedback.database import connect, reading, writing
from inkdigits.feedback.queries import _QUERIES, ORDERS, count, every, listed
from inkdigits.feedback.store import Forgotten, Store
from inkdigits.feedback.submission import Conflict
from inkdigits.feedback.tables import (
    Base,
    Correction,
    Model,
    Picture,
    Promotion,
    Reading,
    Review,
    TrainingItem,
    UserSplit,
)

from support.corrections import answer, submission

TABLES = (Picture, Reading, Correction, Review, TrainingItem, UserSplit)


def sizes(store):
    with reading(store.engine) as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES]


def test_a_correction_is_kept_once_however_often_it_is_sent(store):
    first, other = submission(client="client-1", original=b"a picture"), submission("2")
    [one, two] = store.add([first, other])
    assert (one.is_new, two.is_new, one.status) == (True, True, "pending")
    assert one.id != two.id
    [again, new, within] = store.add([first, three := submission("3"), three])
    assert (again.id, again.is_new, new.is_new, within.is_new) == (one.id, False, True, False)
    assert new.id == within.id
    assert sizes(store)[:3] == [3, 3, 3]
    found = {each.id: each for each in every(store.engine)}
    assert (found[one.id].label, found[one.id].text, found[one.id].client) == ("1", "7", "client-1")
    assert (found[one.id].seen, found[one.id].original) == (first.answer.seen, b"a picture")
    assert found[one.id].details == first.answer.details
    assert abs(found[one.id].created - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_key_with_another_body_is_a_conflict(store):
    first = submission(body="1" * 64)
    store.add([first])
    changed = submission("2", key=first.key, body="2" * 64)
    assert store.add([changed]) == [Conflict(first.key)]
    fresh = submission(body="1" * 64)
    same = submission("5", key=fresh.key, body="2" * 64)
    assert store.add([fresh, same])[1] == Conflict(fresh.key)
    assert sizes(store)[2] == 2


def test_one_answer_may_be_corrected_twice(store):
    given = answer()
    store.add([submission("1", given)])
    store.add([submission("2", given), submission("3", given)])
    assert sizes(store)[:3] == [1, 1, 3]
    assert {each.label: each.disputes for each in every(store.engine)} == {"1": 2, "2": 2, "3": 2}


def test_threads_that_send_the_same_at_once_keep_it_once(store, url):
    """Two workers whose client has sent again after a time limit."""
    others = [store, Store(url)]
    many = [submission(str(i % 10)) for i in range(40)]
    receipts, errors = [[], []], []

    def add(number):
        order = random.Random(number).sample(many, len(many))
        try:
            for i in range(0, len(order), 4):
                receipts[number] += zip(order[i : i + 4], others[number].add(order[i : i + 4]), strict=True)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    others[1].close()
    assert not errors
    ids = [{s.key: receipt.id for s, receipt in each} for each in receipts]
    assert ids[0] == ids[1]
    assert sum(receipt.is_new for each in receipts for _, receipt in each) == len(many)
    assert sizes(store)[:3] == [len(many)] * 3


def test_labels_that_the_model_finds_absurd_and_floods_are_held(store, monkeypatch):
    monkeypatch.setattr(trust, "FLOOD", 3)
    sure = submission("1", answer(7, confidence=0.9999))
    right = submission("7", answer(7, confidence=0.9999), kind="confirmed")
    assert [each.status for each in store.add([sure, right])] == ["held", "pending"]
    assert [store.add([submission(client="client-1")])[0].status for _ in range(4)] == ["pending"] * 3 + ["held"]
    together = store.add([submission(client="client-2") for _ in range(5)])
    assert [each.status for each in together] == ["pending"] * 3 + ["held"] * 2
    assert store.add([submission(client="client-3")])[0].status == "pending"
    assert count(store.engine) == {"held": 4, "pending": 8}


def test_lists_put_first_what_a_reviewer_wants_to_see(store):
    twin = bytes(random.Random(0).randbytes(784))
    rows = [
        submission("1", answer(7, confidence=0.5)),
        submission("2", answer(7, confidence=0.99)),
        submission("7", answer(7, confidence=0.6), kind="confirmed"),
        submission("3", answer(7, confidence=0.8, seen=twin, audit=True)),
        submission("4", answer(7, confidence=0.81, seen=twin)),
        submission("3", answer(7, confidence=0.82, seen=twin)),
    ]
    receipts = store.add(rows[:4]) + store.add(rows[4:])
    names = dict(zip((receipt.id for receipt in receipts), "abcdef", strict=True))

    def order(name, **options):
        return "".join(names[each.id] for each in listed(store.engine, name, **options))

    assert order("least-sure") == "acdefb"
    assert order("least-sure", limit=2) == "ac"
    assert order("suspected") == "bfeda"
    assert order("disputed") in ("edf", "efd")
    assert order("duplicates") == "def"
    assert order("audit") == "d"
    assert sorted(order("newest")) == sorted(names.values())
    assert order("newest", status="held") == ""
    for options in ({"order": "newst"}, {"status": "open"}):
        with pytest.raises(SettingError, match=r"newest|pending"):
            listed(store.engine, **options)
    assert "newest" in ORDERS


def test_forgetting_removes_everything_that_hangs_on_it(store):
    given = answer()
    mine, changed, other = submission("1", given, client="client-1"), submission("2", given), submission("3")
    receipts = store.add([mine, changed, other])
    with writing(store.engine) as connection:
        now = datetime.now(UTC)
        ids = dict(connection.execute(select(Correction.public_id, Correction.id)).all())
        of = ids[receipts[0].id]
        connection.execute(insert(Model).values(sha256="m" * 64, name="mine", recipe={}, created=now))
        connection.execute(insert(TrainingItem).values(model_sha256="m" * 64, correction_id=of))
        connection.execute(insert(Review).values(correction_id=of, reviewer="r", verdict="accept", created=now))
        connection.execute(insert(UserSplit).values(client="client-1", part="train", created=now))
    assert sizes(store) == [2, 2, 3, 1, 1, 1]
    assert store.forget(receipts[1].id) == Forgotten(1, 2, ("m" * 64,))
    assert sizes(store) == [1, 1, 1, 0, 0, 1]
    assert store.forget(receipts[0].id) == Forgotten(0, 0)
    store.add([submission(client="client-1") for _ in range(3)])
    assert store.forget_client("client-1") == Forgotten(3, 3)
    assert sizes(store) == [1, 1, 1, 0, 0, 0]
    store.compact()
    assert [each.label for each in every(store.engine)] == ["3"]


def test_what_is_too_old_is_removed(store):
    store.add([submission(client="client-1") for _ in range(3)])
    now = datetime.now(UTC)
    with writing(store.engine) as connection:
        connection.execute(insert(UserSplit).values(client="client-1", part="gate", created=now))
    assert store.purge(10, now=now + timedelta(days=9)) == 0
    assert store.purge(10, now=now + timedelta(days=11)) == 3
    assert sizes(store) == [0] * 6


def marked(number, length):
    """Bytes that are found again, whatever part of them is left."""
    return (b"MARK%06d" % number * (length // 10 + 1))[:length]


def test_no_byte_of_a_forgotten_picture_stays_in_the_file(tmp_path):
    """Of pictures of each size, as pages of the file hold small ones together and large ones in pieces."""
    path, chance = tmp_path / "feedback.db", random.Random(0)
    store = Store(str(path))
    try:
        sizes = [chance.choice([0, 100, 1000, 5000, 20_000]) for _ in range(400)]
        many = [submission("1", answer(seen=marked(i, 784)), original=marked(i, size)) for i, size in enumerate(sizes)]
        ids = [receipt.id for start in range(0, 400, 50) for receipt in store.add(many[start : start + 50])]
        gone = set(chance.sample(range(400), 60))
        for i in sorted(gone, key=lambda _: chance.random()):
            assert store.forget(ids[i]).pictures == 1

        def left():
            files = [file for file in tmp_path.iterdir() if file.name.startswith(path.name)]
            return {int(n) for file in files for n in re.findall(rb"MARK(\d{6})", file.read_bytes())}

        assert left() == set(range(400)) - gone
        store.compact()
        assert left() == set(range(400)) - gone
        store.purge(1, now=datetime.now(UTC) + timedelta(days=2))
        assert left() == set()
    finally:
        store.close()


def test_the_file_is_its_owners_alone(tmp_path):
    store = Store(str(tmp_path / "feedback.db"))
    store.add([submission()])
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    store.close()


# Migrations


def tables(engine):
    with reading(engine) as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_migrations_lead_up_and_down(url):
    engine = connect(url)
    try:
        assert migrate.revision(engine) is None
        assert migrate.upgrade(engine)
        assert not migrate.upgrade(engine)
        assert migrate.revision(engine) == migrate.head()
        assert tables(engine) == set(Base.metadata.tables)
        with reading(engine) as connection:  # the models and the migrations describe the same tables
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, Base.metadata) == []
        migrate.downgrade(engine, migrate.BASE)
        assert tables(engine) == set()
        assert migrate.upgrade(engine)
        with pytest.raises(StoreError, match="newer inkdigits"):
            migrate.upgrade(engine, "9999")
        with writing(engine) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(StoreError, match=r"9999.*newer inkdigits"):
            Store(url)
    finally:
        engine.dispose()


def test_processes_that_start_together_migrate_once(url):
    errors = []

    def start():
        try:
            Store(url).close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_the_key_of_prediction_ids_stays(store, url):
    other = Store(url)
    given = answer()
    assert Signer(other.secret()).open(Signer(store.secret()).sign(given)) == given
    other.close()


@pytest.mark.parametrize("statement", ["UPDATE promotion SET slot = 'x'", "DELETE FROM promotion"])
def test_promotions_are_only_added(store, statement):
    with writing(store.engine) as connection:
        row = {"slot": "champion", "model_sha256": "m" * 64, "by": "me", "reason": "", "created": datetime.now(UTC)}
        connection.execute(insert(Promotion).values(row))
    with pytest.raises(StoreError, match="only added"), writing(store.engine) as connection:
        connection.execute(text(statement))
    with reading(store.engine) as connection:
        assert connection.execute(select(func.count()).select_from(Promotion)).scalar_one() == 1


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mysql://u:secret@h/d", r"mysql://u:\*\*\*@h/d; expected a file"),
        ("sqlite://", "names no file"),
        ("://", "no address of a database"),
        ("/nowhere/x/feedback.db", "cannot open the database /nowhere/x/feedback.db: No such file"),
    ],
)
def test_an_address_that_is_none_is_named_without_its_password(address, words):
    with pytest.raises(SettingError, match=words) as caught:
        connect(address)
    assert "secret" not in str(caught.value)


def test_a_database_that_does_not_answer_is_named_without_its_password():
    with pytest.raises(StoreError, match="refused") as caught:
        Store("postgresql://u:secret@127.0.0.1:1/d")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("not a database, but notes that somebody wrote\n" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(str(path))
    assert Path(path).read_text().startswith("not a database, but")


@pytest.mark.parametrize("order", ORDERS)
def test_each_list_comes_from_an_index(tmp_path, order):
    """However many rows there are; benchmarks/feedback.py asks a million of them."""
    store = Store(str(tmp_path / "feedback.db"))
    try:
        query = _QUERIES[order]("pending", 50).compile(store.engine, compile_kwargs={"literal_binds": True})
        with reading(store.engine) as connection:
            plan = [row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
        assert [step for step in plan if "USING" in step]
        assert [step for step in plan if step.startswith("SCAN") and "INDEX" not in step] == []
    finally:
        store.close()
