"""Small requests share a network run, large ones have threads, both bounded; answers stay the Recognizer's own."""

import asyncio
import threading

import numpy as np
import pytest
from PIL import Image

from inkdigits import ImageError, Limits, Recognizer
from inkdigits.preprocess.decode import decode
from inkdigits.self_test import DIGIT
from inkdigits.server.cost import BATCH
from inkdigits.server.http.problems import Problem
from inkdigits.server.inference import Executor, predict_sources
from inkdigits.server.observability.metrics import Metrics
from inkdigits.server.processes.shared_state import SharedState
from inkdigits.settings import Settings

from support.drawings import picture
from support.requests import THREE, encode, reader_of

LIMITS = Limits()


@pytest.fixture
def metrics():
    return Metrics(SharedState())


def cell(metrics: Metrics, recognizer: Recognizer, name: str) -> float:
    lines = metrics.text(recognizer.model, "1").decode().splitlines()
    [line] = [line for line in lines if line.startswith(f"inkdigits_{name} ")]
    return float(line.rpartition(" ")[2])


def small(digit: int) -> Image.Image:
    return Image.fromarray(picture(digit)).resize((28, 28), Image.Resampling.BOX)


def sources() -> list:
    """Every kind: files that become 28×28 grey, arrays of that size, others, and what cannot be read."""
    grey = [encode(small(digit)) for digit in range(10)]
    colour = [encode(small(digit).convert("RGB")) for digit in (3, 4)]
    deep = Image.fromarray(np.asarray(small(5), np.uint16) * 257)
    arrays = [np.asarray(small(6)), np.asarray(small(7)).astype(np.float32) / 255]
    blank = np.zeros((28, 28), np.uint8)
    return [*grey, b"hello", *colour, encode(picture(8)), encode(deep), *arrays, blank, THREE[:-20]]


def same(one, other) -> bool:
    if isinstance(one, ImageError):
        return type(one) is type(other) and str(one) == str(other)
    return np.array_equal(one.image, other.image) and np.allclose(one.probabilities, other.probabilities, atol=1e-6)


def test_answers_are_the_recognizer_s_own(recognizer, metrics):
    expected = [recognizer.predict_batch([source], errors="return")[0] for source in sources()]
    together = predict_sources(recognizer, sources(), LIMITS, metrics)
    alone = [predict_sources(recognizer, [source], LIMITS, metrics)[0] for source in sources()]
    for results in (together, alone):
        assert all(map(same, results, expected))
        assert [r if isinstance(r, ImageError) else (r.digit, r.box, r.polarity) for r in results][:10] == [
            (e.digit, e.box, e.polarity) for e in expected[:10]
        ]


def test_limits_hold_for_small_files_too(recognizer, metrics):
    limits = Limits(max_pixels=100)
    results = predict_sources(recognizer, [THREE, np.zeros((28, 28), np.uint8)], limits, metrics)
    assert [type(result).__name__ for result in results] == ["ImageTooLarge"] * 2


def noted(recognizer, metrics, monkeypatch, most=1000):
    """The same, and the size of each network run that it makes."""
    runs, logits = [], recognizer.logits
    monkeypatch.setattr(recognizer, "logits", lambda batch: runs.append(len(batch)) or logits(batch))
    return reader_of(recognizer, metrics, most), runs


def test_what_arrives_together_shares_a_network_run_and_nobody_waits(recognizer, metrics, monkeypatch):
    read_all, runs = noted(recognizer, metrics, monkeypatch)

    async def ask():
        alone = await read_all([THREE])
        return [alone, *await asyncio.gather(*(read_all([encode(small(d)), THREE]) for d in range(10)))]

    alone, *together = asyncio.run(ask())
    assert runs == [1, 20]
    assert [result.digit for result in alone] == [DIGIT]
    assert [[result.digit for result in results] for results in together] == [[d, DIGIT] for d in range(10)]


def test_a_long_queue_lets_other_work_in_between(recognizer, metrics, monkeypatch):
    read_all, runs = noted(recognizer, metrics, monkeypatch)
    seen = []

    async def ask():
        tasks = [asyncio.create_task(read_all([THREE])) for _ in range(2 * BATCH + 3)]
        await asyncio.sleep(0)
        while not all(task.done() for task in tasks):
            seen.append(cell(metrics, recognizer, 'queue_length{queue="small"}'))
            await asyncio.sleep(0)

    asyncio.run(ask())
    assert sum(runs) == 2 * BATCH + 3
    assert max(runs) == BATCH
    assert len(set(seen)) > 2
    assert cell(metrics, recognizer, 'queue_length{queue="small"}') == 0


def test_a_full_queue_turns_away_and_recovers(recognizer, metrics, monkeypatch):
    read_all, _ = noted(recognizer, metrics, monkeypatch, most=3)

    async def ask(count):
        return await asyncio.gather(*(read_all([THREE]) for _ in range(count)), return_exceptions=True)

    for _ in range(2):
        results = asyncio.run(ask(5))
        assert [type(result) for result in results] == [list] * 3 + [Problem] * 2
        assert results[-1].type.status == 503
        assert results[-1].headers == {"Retry-After": "1"}
    assert cell(metrics, recognizer, 'shed_total{reason="queue"}') == 4


def test_a_fault_stays_with_its_request(recognizer, metrics, monkeypatch):
    read_all, _ = noted(recognizer, metrics, monkeypatch)
    poison = encode(picture(2))

    def fail(source, limits):
        if source == poison:
            raise RuntimeError("a fault")
        return decode(source, limits)

    monkeypatch.setattr("inkdigits.preprocess.decode", fail)

    async def ask():
        asked = ([THREE], [poison], [THREE, THREE])
        return await asyncio.gather(*map(read_all, asked), return_exceptions=True)

    first, second, third = asyncio.run(ask())
    assert [r.digit for r in (*first, *third)] == [DIGIT] * 3
    assert isinstance(second, RuntimeError)


def test_a_request_that_was_given_up_harms_no_other(recognizer, metrics, monkeypatch):
    read_all, _ = noted(recognizer, metrics, monkeypatch)

    async def ask():
        gone, stays = (asyncio.create_task(read_all([THREE])) for _ in range(2))
        asyncio.get_running_loop().call_soon(gone.cancel)
        return await stays

    assert asyncio.run(ask())[0].digit == DIGIT


def test_heavy_work_is_bounded_and_counts_until_its_thread_is_done(recognizer, metrics):
    heavy = Executor(Settings(max_heavy=2), metrics)
    release = threading.Event()

    async def ask():
        under_way = [asyncio.create_task(heavy.run(release.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert cell(metrics, recognizer, 'queue_length{queue="heavy"}') == 2
        with pytest.raises(Problem, match="2 large requests are in progress already"):
            await heavy.run(int, "7")
        release.set()
        assert await asyncio.gather(*under_way) == [True, True]
        assert await heavy.run(int, "7") == 7

    asyncio.run(ask())
    heavy.close()
    assert cell(metrics, recognizer, 'shed_total{reason="heavy"}') == 1


def test_requests_of_two_models_that_wait_together_get_each_its_own_answer(recognizer, metrics):
    """As when a model is swapped while requests wait."""
    executor, other = Executor(Settings(), metrics), Recognizer("lenet")
    asked = [recognizer, other, recognizer]

    async def ask():
        return await asyncio.gather(*(executor.predict(model, [THREE], list) for model in asked))

    for model, (found,) in zip(asked, asyncio.run(ask()), strict=True):
        assert same(found, model.predict(THREE))
    assert recognizer.predict(THREE).probabilities != other.predict(THREE).probabilities
