"""Every command of the README and the docs, run as it stands; of what cannot be run here, the form is tried."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from argparse import ArgumentParser, _SubParsersAction
from collections import defaultdict

import pytest

from inkdigits.cli import build_parser

from support import commands
from support.commands import (
    DOCUMENTS,
    NO_EXTRA,
    ROOT,
    SERVER,
    Sandbox,
    Step,
    blocks,
    digits_expected,
    digits_told,
    steps,
)
from support.drawings import picture

pytestmark = pytest.mark.slow

# Programs that need more than this machine; a block with one of them is not run at all.
ELSEWHERE = {
    "apt": "installs programs for the whole machine",
    "aws": "needs an account",
    "docker": "needs a daemon and images",
    "eksctl": "needs an account",
    "helm": "needs a cluster",
    "heroku": "needs an account",
    "kind": "needs a daemon and images",
    "kubectl": "needs a cluster",
    "npx": "needs npm's registry and an account",
    "systemctl": "changes what the machine runs",
}
# (pattern of the command, why it is not run, what it would have made: by name, the shipped model that stands in).
NOT_RUN = [
    (r"^git clone … ", "inkdigits has no public address yet", {}),
    (r"^make (check|test)\b", "it runs these tests", {}),
    (r"^make (web-runtime|static)\b", "needs npm's registry; web/test_offline.py builds the page", {}),
    (r"^make docker_(build|run)\b", "needs a daemon and images", {}),
    (r"^python3 -m venv /(tmp|opt)/", "needs PyPI; test_deploy.py installs the wheel into an empty environment", {}),
    (r"^/(tmp|opt)/inkdigits/bin/", "of the environment that the command before makes", {}),
    (r"^export RAY_USAGE_STATS_ENABLED", "for a cluster of many machines", {}),
    (r"^RAY_ADDRESS=auto ", "needs a cluster of many machines", {}),
    (
        r"^curl http://127.0.0.1:9696/predict --header .*row_data",
        "of a server that did not start; test_examples.py",
        {},
    ),
    (r"pgrep -o -f 'inkdigits serve'", "signals the machine's first server, whoever's it is; server/test_run.py", {}),
    (r"^(gunicorn|uvicorn) .*inkdigits\.server:app", "other servers; server/test_elsewhere.py", {}),
    (r"^inkdigits train --network lenet --data mnist", "minutes of training", {"models/lenet.onnx": "lenet"}),
    (r"^inkdigits train --network mlp --out", "half a minute of training", {"models/mlp.onnx": "lenet"}),
    (r"^inkdigits train --network sprint --epochs 2", "half a minute of training; benchmarks/fast_training.py", {}),
    (r"^inkdigits train --data mnist\+pen", "two hours of training", {}),
    (r"^inkdigits train --init cnn_float", "of pictures that the reader brings; training/test_distill.py", {}),
    (r"^inkdigits train --network cnn_small --teacher", "half an hour of training; training/test_distill.py", {}),
    (
        r"^inkdigits train .*--threads [12] --out (first|fast|second|third|cnn_float)\.onnx",
        "an hour of training each",
        {},
    ),
    (r"^inkdigits quanti[sz]e (models/mine|cnn_float)\.onnx", "of a model that takes two hours", {}),
    (r"^python scripts/train_ink\.py", "half an hour of training; training/test_ink.py", {}),
    (r"^python scripts/train_line\.py", "an hour of training; training/test_line.py", {}),
    (r"^python scripts/calibrate_line\.py", "of writers that are not shipped; reading/test_scoring.py", {}),
    (r"^python scripts/train_shipped\.py", "two hours of training; test_train_shipped.py", {}),
    (r"^inkdigits compare ", "trains eight models; training/test_compare.py", {}),
    (r"^inkdigits evaluate cnn( |$)(?!.*examples/)(?!.*--data digits --limit)", "minutes, or MNIST's download", {}),
    (r"^inkdigits data --download mnist", "needs a network", {}),
    (r"^python -c .*copytree\(n\.SHIPPED", "of docs/tour.md: web/test_all_the_way.py", {}),
    (
        r"^inkdigits models promote lenet --folder models --reason \"start",
        "needs a person at a terminal; cli/test_models.py",
        {},
    ),
    (r"^python examples/many_users\.py", "needs MNIST", {}),
    (
        r"^inkdigits learn --feedback feedback.db --folder models --validation",
        "needs MNIST; web/test_all_the_way.py",
        {},
    ),
    (r"^inkdigits models promote learned-1", "of the model that was not trained; web/test_all_the_way.py", {}),
    (r"^pkill -HUP -f", "signals every server of the machine; server/test_run.py", {}),
    (r"^inkdigits models rollback --folder models --reason \"the tour", "of the promotion that was not made", {}),
    (r"^inkdigits tune ", "forty trainings; training/test_tune.py", {}),
    (r"^inkdigits train --config study/best\.toml", "of the study that was not made", {}),
    (r"^\.venv/bin/python benchmarks/serving\.py", "needs wrk and a quiet machine", {}),
    (
        r"^\.venv/bin/python benchmarks/pictures\.py",
        "minutes, of pictures that are not shipped; benchmarks/test_pictures.py",
        {},
    ),
    (
        r"^\.venv/bin/python benchmarks/(whole_numbers|readers|sudoku)\.py",
        "minutes, of pictures that are not shipped, and other readers",
        {},
    ),
]
TOOLS = {"curl", "jq"}  # that the docs take to be there; without one, the rest is run and the test is skipped
# What a reader has done before, of which the document does not speak.
BEFORE = {
    "docs/models.md": ["cp src/inkdigits/models/fast.onnx mine.onnx"],
    "docs/learning.md": ["mkdir -p models && cp -r src/inkdigits/models/. models"],
    "docs/operations.md": ["mkdir -p models && cp -r src/inkdigits/models/. models"],  # a folder of models
    "docs/tuning.md": [
        "inkdigits train --network lenet --data digits --epochs 1 --out one.onnx",
        "inkdigits train --network mlp --data digits --epochs 1 --out two.onnx",
    ],
}
TABLE_ROWS = 60  # of the tables that stand in for Kaggle's
WRONG_LINE, WRONG_COLUMN = 18, 300  # of broken.csv, in docs/models.md
READS = re.compile("predict|infer")  # of a step that tells digits
READS_NUMBERS = re.compile(r"curl .*/read\b", re.DOTALL)  # of a step that is answered with numbers
REPOSITORY = re.compile(r"(?<![\w/.-])(?:benchmarks|deploy|examples|notebooks|scripts)/[\w./*-]+")
PROSE = re.compile(r"`((?:[A-Z_]+=\S+ )*(?:inkdigits|make|pip|python|\.venv/bin/python) [^`]+)`")


@pytest.fixture(scope="module")
def installed():
    """What pip was asked for already; to resolve it again would tell nothing."""
    return []


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    sandbox = Sandbox(tmp_path_factory.mktemp("docs"))
    kaggle(sandbox.folder)
    (sandbox.folder / sandbox.folder.name).symlink_to(".")  # a checkout that is called by its name
    yield sandbox
    sandbox.close()


def kaggle(folder):
    """Tables as a reader has them of Kaggle: one to train on, one without labels, and one with a mistake."""
    names = ",".join(f"pixel{i}" for i in range(784))
    rows = [255 - picture(i % 10, 28, ink_size=18.0 + i % 4).ravel() for i in range(TABLE_ROWS)]
    lines = [",".join(map(str, row)) for row in rows]
    labelled = [f"label,{names}", *(f"{i % 10},{line}" for i, line in enumerate(lines))]
    (folder / "train.csv").write_text("\n".join(labelled) + "\n")
    (folder / "test.csv").write_text("\n".join([names, *lines]) + "\n")
    values = labelled[WRONG_LINE - 1].split(",")
    values[WRONG_COLUMN + 1] = "256"
    labelled[WRONG_LINE - 1] = ",".join(values)
    (folder / "broken.csv").write_text("\n".join(labelled) + "\n")


def exception(step: Step):
    """Why a step is not run, and what stands in for what it would have made; None where it is run."""
    for pattern, reason, makes in NOT_RUN:
        if step.language == "sh" and re.search(pattern, step.code):
            return reason, makes
    return None


def programs(code):
    """The first word of each command of a line, and what it calls by substitution."""
    return re.findall(r"(?:^|[|&;(]\s*|\$\()\s*(?:[A-Z_]+=\S+ )*([\w./-]+)", code)


def test_a_signal_by_name_reaches_the_server_of_the_document_alone(sandbox):
    sandbox.enter("docs/tour.md")
    step = Step("docs/tour.md", 0, "sh", "pkill -TERM -f 'inkdigits serve'")
    other = subprocess.Popen([sys.executable, "-c", "input()", "inkdigits serve"], stdin=subprocess.PIPE)
    try:
        assert sandbox.run(step).returncode == 1  # there is none yet
        sandbox.serve("inkdigits serve")
        assert sandbox.run(step).returncode == 0
        sandbox._server.communicate(timeout=commands.STOP_SECONDS)
        assert other.poll() is None
    finally:
        sandbox.stop()
        other.kill()
        other.communicate()


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if steps(name)])
def test_each_command_runs_as_it_stands(document, sandbox):
    found = steps(document)
    elsewhere = {step.block for step in found if step.language == "sh" and {*programs(step.code)} & {*ELSEWHERE}}
    sandbox.enter(document)
    for code in BEFORE.get(document, ()):
        follow(sandbox, Step(document, 0, "sh", code))
    wrong, lacking = [], set()
    for step in found:
        why = ELSEWHERE if step.block in elsewhere else exception(step)
        if why is None and (absent := {tool for tool in {*programs(step.code)} & TOOLS if not shutil.which(tool)}):
            lacking |= absent
            continue
        try:
            if why is None:
                follow(sandbox, step)
            else:
                formed(step, sandbox)
                for name, model in (why[1] if isinstance(why, tuple) else {}).items():
                    stand_in(sandbox.folder / name, model)
        except (AssertionError, RuntimeError, subprocess.TimeoutExpired) as error:
            wrong.append(f"{document}, block {step.block}: {step.code}\n{error}")
    sandbox.stop()
    assert not wrong, "\n\n".join(wrong)
    if lacking:
        pytest.skip(f"commands of {document} call what is not installed: {', '.join(sorted(lacking))}")


def follow(sandbox, step):
    """Run a step, and see that it did what the document says."""
    if SERVER.match(step.code):
        return sandbox.serve(step.code)
    done = sandbox.run(step)
    everything = done.stdout + done.stderr
    assert NO_EXTRA not in everything, everything
    if step.shown is not None:
        assert everything == step.shown
        assert (done.returncode != 0) == ("error" in step.shown)
        return None
    assert done.returncode == 0, everything
    if READS.search(step.code) and ("print" in step.code or step.language != "python"):
        assert digits_told(step, done.stdout, sandbox.folder) == digits_expected(step), everything
    if READS_NUMBERS.search(step.code):
        told = re.findall(r'"is_number":(\w+)', done.stdout)
        assert told, everything
        assert "false" not in told, everything
    return None


def stand_in(path, model):
    path.parent.mkdir(exist_ok=True)
    shutil.copyfile(ROOT / "src" / "inkdigits" / "models" / f"{model}.onnx", path)


def formed(step, sandbox):
    """What is not run is a command all the same: a shell can read it, and its options, targets and files are there."""
    done = subprocess.run(["bash", "-n", "-c", step.code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for path in REPOSITORY.findall(step.code):
        assert [*ROOT.glob(path)], f"there is no {path}"
    words = shlex.split(step.code, comments=True)
    for i, word in enumerate(words):
        if word.endswith("inkdigits") and i + 1 < len(words) and words[i + 1] in parsers():
            arguments = words[i + 1 : next((j for j in range(i, len(words)) if words[j] in ("|", "&", "&&")), None)]
            try:
                build_parser().parse_args(arguments)
            except SystemExit:
                raise AssertionError(f"inkdigits takes no such options: {shlex.join(arguments)}") from None
        if word == "make":
            targets_exist(words[i + 1 : i + 2], sandbox)
    scripts_take(words)


def scripts_take(words):
    """Of a script of the repository that is called: it knows the options."""
    for i, word in enumerate(words):
        if re.fullmatch(r"(scripts|benchmarks)/\w+\.py", word):
            source = (ROOT / word).read_text() + (ROOT / "benchmarks" / "_common.py").read_text()
            passed_on = parsers()["train"]._option_string_actions if "[options of inkdigits train]" in source else {}
            options = [option for option in words[i:] if option.startswith("--") and option not in passed_on]
            assert [option for option in options if f'"{option}"' not in source] == [], shlex.join(words)


def targets_exist(targets, sandbox):
    done = subprocess.run(["make", "-n", *targets], cwd=sandbox.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def parsers() -> dict[str, ArgumentParser]:
    [found] = [action for action in build_parser()._actions if isinstance(action, _SubParsersAction)]
    return found.choices


def options_of(words):
    """The options of a command, or of the command below it that is named next."""
    parser = parsers()[words[0]]
    below = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    return (below[0].choices.get(words[1], parser) if below and len(words) > 1 else parser)._option_string_actions


def test_each_exception_is_of_a_command_that_is_there():
    everything = [step for document in DOCUMENTS for step in steps(document) if step.language == "sh"]
    used = {program for step in everything for program in programs(step.code)}
    assert {*ELSEWHERE} <= used
    counted = defaultdict(int)
    for step in everything:
        first = next((pattern for pattern, *_ in NOT_RUN if re.search(pattern, step.code)), None)
        counted[first] += 1
    assert [pattern for pattern, *_ in NOT_RUN if not counted[pattern]] == []
    assert {*BEFORE} <= {*DOCUMENTS}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_the_text_exist(document, sandbox, installed):
    """In prose they are often parts of commands: their names, options, targets and extras are there."""
    sandbox.enter("docs/cli.md")
    text = (ROOT / document).read_text(encoding="utf-8")
    examples = re.findall(r"^  ((?:\w+=\S+ )?inkdigits \w.*?)(?:\s{2,}.*)?$", text, re.MULTILINE)  # of the help
    for code in [*PROSE.findall(text), *examples]:
        words = shlex.split(code.replace("\n", " "))
        words = words[next(i for i, word in enumerate(words) if "=" not in word or word.startswith("-")) :]
        if words[0] == "inkdigits" and words[1] not in ("COMMAND", "predict|serve"):
            known = options_of(words[1:]) if words[1] in parsers() else {"--help", "--version"}
            assert [word for word in words[1:] if word.startswith("--") and word not in known] == [], code
            assert words[1] in parsers() or words[1].startswith("-"), code
        elif words[0] == "make":
            targets_exist(words[1:2], sandbox)
        elif words[:2] == ["pip", "install"] and words[2:] not in ([], *installed):
            installed.append(words[2:])
            follow(sandbox, Step(document, 0, "sh", shlex.join(words)))
        scripts_take(words)
        for path in REPOSITORY.findall(code):
            assert [*ROOT.glob(path)], f"{code}: there is no {path}"


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if blocks(name, "json", "toml")])
def test_examples_of_data_are_data(document):
    for _, language, text in blocks(document, "json", "toml"):
        assert json.loads(text) if language == "json" else tomllib.loads(text)


def test_the_space_that_the_docs_show_is_the_file_that_they_name():
    [(_, _, text)] = blocks("docs/tuning.md", "toml")
    assert text == (ROOT / "examples" / "space.toml").read_text()


def test_the_picture_of_the_rooms_names_what_is_there():
    [(_, _, picture)] = blocks("docs/design.md", "mermaid")
    rooms = re.findall(r'\["([\w.]+/?)<br>', picture)
    assert len(rooms) >= 10
    for room in rooms:
        assert (ROOT / "src" / "inkdigits" / room).exists(), room
        assert room.endswith("/") == (ROOT / "src" / "inkdigits" / room).is_dir(), room


def test_no_language_is_left_out():
    """A block in another language would be run by nobody."""
    known = {*commands.LANGUAGES, "json", "toml", "text", "mermaid"}
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        assert {*re.findall(r"^```(\S*)\n.*?^```$", text, re.MULTILINE | re.DOTALL)} <= known, document
        for _, _, shown in blocks(document, "text"):
            assert not shown.startswith("$"), f"{document}: commands belong into a console block"
