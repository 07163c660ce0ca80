"""A new model on live traffic: it reads along, it answers a share, it is watched; and it ends where it is worse."""

import itertools
import json
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from inkdigits import Recognizer, SettingError
from inkdigits.feedback.answers import Signer
from inkdigits.feedback.store import Store
from inkdigits.network import read_registry
from inkdigits.preprocess import BLANK, preprocess
from inkdigits.registry import promote, roles, rollback, withdraw
from inkdigits.server.comparison import Bounds
from inkdigits.server.observability.tally import Tally
from inkdigits.server.processes.shared_state import SharedState
from inkdigits.server.trial import QUEUE, Trial
from inkdigits.server.trial_plan import Plan, check_trial
from inkdigits.settings import Settings

from support.requests import THREE
from support.servers import Server, answers, processes, samples, until, workers
from support.trial_models import HEAVY, LIGHT, models

ALL = {"shadow_share": "100%", "canary_share": "100%"}
# A connection for each request, so that every worker is asked, and no connection sticks to one model.
HTTP = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=60)


def options(**values):
    return [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def trial_of(url):
    return HTTP.get(f"{url}/model").json().get("trial")


def crossed(url):
    """The reason that the metrics give."""
    found = samples(HTTP.get(f"{url}/metrics").text)
    return [dict(key[1:])["reason"] for key, value in found.items() if key[0] == "inkdigits_trial_crossed" and value]


def ask(url, *images, **headers):
    """Send images on a connection each, and return the models that answered; no request fails."""
    found = [HTTP.post(f"{url}/predict", content=image, headers=headers) for image in images]
    assert {answer.status_code for answer in found} == {200}, [answer.text for answer in found]
    return [answer.json()["model"] for answer in found]


def ask_until(url, condition, images=HEAVY):
    """Send images until a condition holds, and return the models that answered."""
    found = []
    while not condition():
        found += ask(url, *images)
        assert len(found) < 3000, trial_of(url)
    return found


def is_over(url):
    return trial_of(url)["state"] == "ended"


# Settings, and what they choose


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("0.25", 0.25), ("100%", 1.0), ("0%", 0.0)])
def test_a_share_may_be_in_percent(text, share):
    assert Settings.from_env({"INKDIGITS_SHADOW_SHARE": text}).shadow_share == share


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600), ("2d", 172800)])
def test_a_time_may_have_a_unit(text, seconds):
    assert Settings.from_env({"INKDIGITS_WATCH": text}).watch == seconds


@pytest.mark.parametrize("text", ["x%", "%", "101%", "h", "1w", "-1h", "1.5h"])
def test_other_shares_and_times_are_errors(text):
    name = "INKDIGITS_SHADOW_SHARE" if "%" in text else "INKDIGITS_WATCH"
    with pytest.raises(SettingError, match=name):
        Settings.from_env({name: text})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shadow": "fast", "canary": "lenet"}, "a server tries one model at a time"),
        ({"canary": "fast", "profile": "mine.json"}, "promises"),
        ({"shadow": "challenger"}, "needs a folder of models"),
        ({"watch": 60}, "needs a folder of models"),
    ],
)
def test_settings_that_contradict_each_other_are_errors(settings, said):
    with pytest.raises(SettingError, match=said):
        check_trial(Settings(**settings))


@pytest.fixture(scope="module")
def folder_of_models(tmp_path_factory):
    return models(
        tmp_path_factory.mktemp("trials") / "models", same="same", picky="picky", confused="confused", failing="failing"
    )


@pytest.fixture
def folder(tmp_path, folder_of_models):
    """A champion and models that differ from it, in a folder that a test may change."""
    return shutil.copytree(folder_of_models, tmp_path / "models")


@pytest.fixture(scope="module")
def pair(folder_of_models):
    return Recognizer(folder_of_models), Recognizer(folder_of_models / "same.onnx")


def trial_with(pair, mode="canary", **changes):
    champion, candidate = pair
    plan = Plan(
        mode, candidate.model.name, champion, candidate, **{"shadow_share": 1.0, "canary_share": 0.2, **changes}
    )
    return Trial(plan, Bounds.of(Settings()), Tally(SharedState()), lambda: None, proxies=1)


def test_a_share_of_the_requests_has_the_canary_and_equal_ids_have_one_model(pair):
    trial, champion = trial_with(pair), pair[0]
    scope = {"client": ("10.0.0.1", 5000)}

    def chosen(scope, **headers):
        return trial.choose(champion, scope, {k.replace("_", "-").encode(): v.encode() for k, v in headers.items()})

    ids = [f"request-{i}" for i in range(2000)]
    first = [chosen(scope, x_request_id=each) for each in ids]
    assert first == [chosen({"client": ("10.9.9.9", 1)}, x_request_id=each) for each in ids]
    assert 0.16 < first.count(pair[1]) / len(ids) < 0.24
    connections = [chosen({"client": ("10.0.0.1", port)}) for port in range(2000)]
    assert connections == [chosen({"client": ("10.0.0.1", port)}) for port in range(2000)]
    assert 0.16 < connections.count(pair[1]) / 2000 < 0.24
    people = [
        [chosen({"client": ("10.0.0.1", port)}, x_forwarded_for=f"1.2.3.{i}") for port in (1, 2)] for i in range(99)
    ]
    assert {len(set(each)) for each in people} == {1}
    assert {each[0] for each in people} == set(pair)
    nobody = [chosen({"client": None}) for _ in range(500)]
    assert {*nobody} == set(pair)


def test_images_beyond_the_queue_are_dropped_and_counted(pair):
    trial = trial_with(pair, "shadow", canary_share=0.0)
    trial.start = lambda: None  # so that nothing is read
    seen = preprocess(np.asarray(255 * np.eye(28, dtype=np.uint8)))
    [prediction] = pair[0].predict_preprocessed([seen])
    for _ in range(QUEUE + 7):
        trial.offer(pair[0], [seen], [prediction])
    trial.offer(pair[0], [BLANK], pair[0].predict_preprocessed([BLANK]))  # says nothing, so it does not even wait
    trial.offer(Recognizer("fast"), [seen], [prediction])  # a model that was replaced meanwhile
    assert trial.about()["dropped"] == 7
    del trial.start
    trial.start()
    until(lambda: trial.about()["images"]["agree"] == QUEUE)
    trial.close()
    assert not trial.busy


def test_a_share_of_the_images_is_read_again(pair):
    trial = trial_with(pair, "shadow", shadow_share=0.25, canary_share=0.0)
    seen = preprocess(np.asarray(255 * np.eye(28, dtype=np.uint8)))
    predictions = pair[0].predict_preprocessed([seen] * 64)
    for _ in range(20):
        trial.offer(pair[0], [seen] * 64, predictions)
        until(lambda: not trial._waiting)
    trial.close()
    assert 0.2 < trial.about()["images"]["agree"] / (20 * 64) < 0.3


def test_a_worker_that_cannot_try_the_model_ends_the_trial_without_a_withdrawal(pair, folder):
    shared, mode = SharedState(2), "canary"
    champion, candidate = pair
    plan = Plan(mode, "same", champion, candidate, shadow_share=1.0, canary_share=1.0, folder=folder)
    running = Trial(plan, Bounds.of(Settings()), Tally(shared, 0), lambda: None)
    running.start()
    unable = Plan(mode, "same", champion, None, shadow_share=1.0, canary_share=1.0, folder=folder, objection="no file")
    Trial(unable, Bounds.of(Settings()), Tally(shared, 1), lambda: None, is_first=False).start()
    assert running.choose(champion, {"client": None}, {}) is champion
    until(lambda: running.about()["state"] == "ended")
    assert running.about()["reason"] == "unavailable: another worker cannot try the model"
    assert "withdrawn" not in read_registry(folder)


# The registry


def test_a_model_that_was_withdrawn_is_not_promoted_until_it_is_reinstated(folder, run_command):
    sha256 = read_registry(folder)["models"]["picky"]["sha256"]
    assert withdraw(folder, "picky", sha256, by="server", reason="it rejects too much")
    assert not withdraw(folder, "picky", sha256, by="server", reason="found by another worker")
    with pytest.raises(
        SettingError, match="it rejects too much; to try it again, run inkdigits models reinstate picky"
    ):
        promote(folder, "picky", by="Ada")
    code, out, _ = run_command("models", "list", "--folder", folder)
    assert (code, "withdrawn  picky  by server: it rejects too much" in out) == (0, True)
    assert run_command("models", "reinstate", "picky", "--folder", folder)[0] == 0
    assert read_registry(folder)["withdrawn"] == []
    code, _, err = run_command("models", "reinstate", "picky", "--folder", folder)
    assert (code, "picky was not withdrawn" in err) == (2, True)
    assert promote(folder, "picky", by="Ada")["to"]["name"] == "picky"


def test_only_the_champion_that_was_found_worse_is_taken_back(folder):
    sha256 = promote(folder, "picky", by="Ada")["to"]["sha256"]
    promote(folder, "same", by="Ada")
    with pytest.raises(SettingError, match="same is the champion by now"):
        rollback(folder, by="server", sha256=sha256)
    assert roles(folder).champion == "same"


# Over sockets


@pytest.fixture(scope="module")
def plain_answers(folder_of_models):
    """What the champion answers without a trial."""
    server = Server("--model", str(folder_of_models))
    try:
        yield bodies(server.url)
    finally:
        server.close()


def bodies(url):
    """The body and the headers of answers by each front end and route, without what is of each request."""
    found = []
    for path, image in itertools.product(
        ("/predict", "/predict?top=3&image=true", "/read"), [*LIGHT, *HEAVY[:2], b"no"]
    ):
        answer = HTTP.post(f"{url}{path}", content=image)
        headers = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")}
        found.append((answer.status_code, headers, answer.content))
    return found


@pytest.mark.slow
def test_with_a_shadow_the_answers_are_the_same_bytes(start_server, folder_of_models, plain_answers):
    url = start_server("--model", str(folder_of_models), *options(shadow="confused", shadow_share="100%")).url
    assert bodies(url) == plain_answers
    sent = 2 * len([*LIGHT, *HEAVY[:2]])  # numbers are not compared
    until(lambda: sum(trial_of(url)["images"].values()) >= sent)
    found = trial_of(url)
    assert (found["mode"], found["state"], found["answers"]) == ("shadow", "running", 0)
    assert (found["images"]["agree"], found["images"]["differ"]) == (sent - 4, 4)
    counted = samples(HTTP.get(f"{url}/metrics").text)
    assert counted[("inkdigits_trial_images_total", ("outcome", "differ"))] == 4
    assert counted[("inkdigits_trial_seconds_total",)] > 0


@pytest.mark.slow
def test_a_model_always_agrees_with_itself(start_server, folder_of_models):
    server = start_server("--model", str(folder_of_models), *options(shadow="same", canary="same", **ALL))
    assert {*ask(server.url, *LIGHT, *HEAVY)} == {"same"}
    expected = len(LIGHT) + len(HEAVY)
    until(lambda: trial_of(server.url)["images"]["agree"] == expected)
    found = trial_of(server.url)
    assert (found["mode"], found["state"], found["reason"], found["answers"]) == ("canary", "running", None, expected)
    assert crossed(server.url) == []
    assert "Traceback" not in server.stop()


@pytest.mark.slow
def test_a_shadow_that_is_worse_is_told_and_goes_on(start_server, folder):
    server = start_server("--model", str(folder), *options(shadow="confused", shadow_share="100%"))
    assert {*ask_until(server.url, lambda: crossed(server.url) == ["agreement"])} == {"champion"}
    found = trial_of(server.url)
    assert found["state"] == "running"
    assert found["reason"].startswith("agreement: both models read ")
    assert "withdrawn" not in read_registry(folder)
    assert server.stop().count("the shadow confused crosses a bound: both models read ") == 1


@pytest.mark.slow
def test_both_front_ends_and_readings_have_the_same_model_for_an_id(start_server, folder_of_models):
    url = start_server("--model", str(folder_of_models), *options(canary="same", canary_share="50%")).url
    found = set()
    for i in range(24):
        told = [
            HTTP.post(f"{url}{path}", content=THREE, headers={"X-Request-ID": f"id-{i}"}).json()["model"]
            for path in ("/predict", "/predict?top=2", "/read")
        ]
        told.append(HTTP.post(url, content=THREE, headers={"X-Request-ID": f"id-{i}"}).json()["model"])
        assert len(set(told)) == 1
        found.update(told)
    assert found == {"champion", "same"}
    with httpx.Client(base_url=url) as client:  # one connection
        assert len({client.post("/predict", content=THREE).json()["model"] for _ in range(20)}) == 1
    assert HTTP.get(f"{url}/ready").json()["model"] == "champion"


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/predict", "/read"])
def test_the_prediction_id_is_of_the_model_that_answered(start_server, folder_of_models, tmp_path, path):
    database = tmp_path / "feedback.db"
    chosen = options(model=folder_of_models, canary="same", canary_share="50%", feedback=database)
    url = start_server(*chosen).url
    store = Store(str(database))
    signer, entries = Signer(store.secret()), read_registry(folder_of_models)["models"]
    names = set()
    for i in range(16):
        answer = HTTP.post(f"{url}{path}?feedback=true", content=THREE, headers={"X-Request-ID": str(i)}).json()
        assert signer.open(answer["prediction_id"]).model == entries[answer["model"]]["sha256"]
        names.add(answer["model"])
    store.close()
    assert names == {"champion", "same"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "reason", "said"),
    [
        ("picky", "rejected", "it rejects "),
        ("confused", "agreement", "both models read "),
        ("failing", "failures", "it failed on "),
    ],
)
def test_a_bad_canary_ends_in_all_workers(start_server, folder, kind, reason, said):
    chosen = options(model=folder, canary=kind, canary_share="50%", workers=2)
    server = start_server(*chosen)
    url = server.url
    answered = ask_until(url, lambda: is_over(url))
    # Of a canary that fails, the champion answers the requests.
    assert {*answered} == ({"champion", kind} if kind != "failing" else {"champion"})
    [entry] = read_registry(folder)["withdrawn"]  # since before the end was told
    assert {*ask(url, *HEAVY, *HEAVY, *HEAVY)} == {"champion"}  # of each worker
    until(lambda: all(is_over(url) for _ in range(16)))
    found = trial_of(url)
    assert found["reason"].startswith(f"{reason}: ")
    assert crossed(url) == [reason]
    assert (entry["name"], entry["by"], entry["sha256"]) == (kind, "server", found["candidate"]["sha256"])
    assert entry["reason"].startswith(said)  # with the counts of that moment
    assert said in found["reason"]
    printed = server.stop()
    assert printed.count(f"the canary {kind} has ended, and is withdrawn: {entry['reason']}") == 1
    assert ("Traceback" in printed) == (kind == "failing")  # the first failure in each worker is logged in full


@pytest.mark.slow
@processes
def test_a_canary_that_ended_stays_away_until_it_is_reinstated(start_server, folder, run_command):
    chosen = options(model=folder, canary="picky", canary_share="50%", workers=2)
    server = start_server(*chosen)
    url = server.url
    ask_until(url, lambda: is_over(url))
    killed = workers(server)
    for pid in killed:  # those that take their places know it
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(workers(server)) == 2 and not {*killed} & {*workers(server)})
    until(lambda: answers(url))
    assert {*ask(url, *HEAVY, *HEAVY)} == {"champion"}
    assert trial_of(url)["state"] == "unavailable"
    assert crossed(url) == ["rejected"]
    server.stop()

    again = start_server(*chosen, "--workers", "1")
    assert {*ask(again.url, *HEAVY, *HEAVY)} == {"champion"}
    found = trial_of(again.url)
    assert (found["state"], crossed(again.url)) == ("unavailable", ["unavailable"])
    assert "run inkdigits models reinstate picky" in found["reason"]
    assert run_command("models", "reinstate", "picky", "--folder", folder)[0] == 0
    again.process.send_signal(signal.SIGHUP)
    until(lambda: trial_of(again.url)["state"] == "running")
    assert crossed(again.url) == []
    printed = again.stop()
    assert printed.count("no canary of picky: picky was withdrawn on ") == 1


@pytest.mark.slow
def test_a_canary_that_reads_an_8_in_everything_never_answers(start_server, folder, constant_model):
    server = start_server(*options(model=folder, canary=constant_model, canary_share="100%", workers=2))
    assert {*ask(server.url, *LIGHT)} == {"champion"}
    found = trial_of(server.url)
    assert found["state"] == "unavailable"
    assert found["reason"].startswith("the model constant reads known digits wrong: 0 as 8")
    assert crossed(server.url) == ["unavailable"]
    assert HTTP.get(f"{server.url}/ready").status_code == 200
    assert server.stop().count("no canary of constant: the model constant reads known digits wrong") == 1


@pytest.mark.slow
@pytest.mark.parametrize("canary", ["missing", "no/such.onnx"])
def test_a_canary_that_is_not_there_does_no_harm(start_server, folder, canary):
    server = start_server(*options(model=folder, canary=canary))
    assert {*ask(server.url, *LIGHT)} == {"champion"}
    assert f"no model '{canary}'" in trial_of(server.url)["reason"]


@pytest.mark.slow
def test_a_canary_outside_a_folder_ends_until_the_server_is_reloaded(start_server, folder_of_models):
    chosen = options(model=folder_of_models / "champion.onnx", canary=folder_of_models / "picky.onnx", workers=2)
    server = start_server(*chosen, "--canary-share", "100%")
    ask_until(server.url, lambda: is_over(server.url))
    assert {*ask(server.url, *HEAVY, *LIGHT)} == {"champion"}
    server.process.send_signal(signal.SIGHUP)
    until(lambda: all(trial_of(server.url)["state"] == "running" for _ in range(16)))  # in both workers
    assert "picky" in ask(server.url, *LIGHT)
    assert server.stop().count("the canary picky has ended until the server is restarted or reloaded: ") == 1


@pytest.mark.slow
def test_the_challenger_of_the_registry_is_tried_and_promoted(start_server, folder):
    url_of = start_server(*options(model=folder, canary="challenger", canary_share="100%", watch="1h", workers=2))
    url = url_of.url
    assert trial_of(url) is None  # there is none yet
    registry = read_registry(folder)
    (folder / "registry.json").write_text(json.dumps({**registry, "challenger": "same"}))
    url_of.process.send_signal(signal.SIGHUP)
    until(lambda: trial_of(url) is not None)
    until(lambda: {*ask(url, *LIGHT)} == {"same"})
    promote(folder, "same", by="Ada")
    url_of.process.send_signal(signal.SIGHUP)
    until(lambda: all((trial_of(url) or {}).get("mode") == "watch" for _ in range(16)))  # in both workers
    assert HTTP.get(f"{url}/model").json()["name"] == "same"
    found = trial_of(url)
    assert (found["candidate"]["name"], found["reference"]["name"]) == ("same", "champion")
    assert {*ask(url, *LIGHT)} == {"same"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(("kind", "reason"), [("picky", "rejected"), ("failing", "failures")])
def test_a_promotion_that_is_worse_is_taken_back(start_server, folder, kind, reason, number):
    chosen = options(model=folder, canary="challenger", watch="1h", shadow_share="100%", workers=number)
    server = start_server(*chosen)
    url = server.url
    assert {*ask(url, *HEAVY)} == {"champion"}
    promote(folder, kind, by="Ada")
    server.process.send_signal(signal.SIGHUP)
    until(lambda: (trial_of(url) or {}).get("mode") == "watch")
    ask_until(url, lambda: roles(folder).champion == "champion")
    until(lambda: HTTP.get(f"{url}/model").json()["name"] == "champion")
    until(lambda: {*ask(url, *HEAVY, *LIGHT)} == {"champion"})
    registry = read_registry(folder)
    first, second = registry["promotions"]
    assert (first["kind"], second["kind"], second["by"]) == ("promotion", "rollback", "server")
    assert (second["from"]["name"], second["to"]["name"]) == (kind, "champion")
    [entry] = registry["withdrawn"]
    assert (entry["name"], entry["reason"]) == (kind, second["reason"])
    printed = server.stop()
    assert printed.count(f"{kind} is rolled back to champion: ") == 1
    assert "the model was reloaded" in printed


@pytest.mark.slow
def test_the_watch_ends_by_itself(start_server, folder):
    server = start_server(*options(model=folder, watch="1h", shadow_share="100%"))
    for left in (2, 8, 32):  # seconds of the hour: more on a machine that is too busy to begin in time
        promote(folder, "same", by="Ada")
        registry = read_registry(folder)
        registry["promotions"][-1]["at"] = (datetime.now(UTC) - timedelta(hours=1, seconds=-left)).isoformat()
        (folder / "registry.json").write_text(json.dumps(registry))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: HTTP.get(f"{server.url}/model").json()["name"] == "same")
        if trial_of(server.url):
            break
        rollback(folder, by="Ada")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: HTTP.get(f"{server.url}/model").json()["name"] == "champion")
    assert {*ask(server.url, *LIGHT)} == {"same"}
    until(lambda: is_over(server.url))
    assert trial_of(server.url)["reason"] == "the watch is over, and no bound was crossed"
    assert crossed(server.url) == []
    assert roles(folder).champion == "same"
