"""The design note's promises: which way imports run, who knows what, what is public; and that docs are up to date."""

import ast
import importlib.util
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import inkdigits
from inkdigits import errors, preprocess

PACKAGE = Path(inkdigits.__file__).parent
ROOT = PACKAGE.parents[1]

# Each room, and the rooms that it may import from.
BASE = {"atomic", "errors", "options", "settings", "text"}
CORE = BASE | {"cores", "network", "prediction", "preprocess", "profile", "reading", "recognizer"}
ROOMS = {
    "_aliases": set(),
    "cores": set(),
    "errors": set(),
    "options": {"errors"},
    "settings": {"errors", "options"},
    "atomic": {"errors"},
    "text": set(),
    "prediction": set(),
    "profile": {"errors"},
    "registry": {"atomic", "errors", "network"},
    "progress": set(),
    "adaptation": {"atomic", "errors", "prediction"},
    "onnx_form": {"errors", "prediction"},
    "network": {"errors", "onnx_form"},
    "preprocess": {"errors", "network", "prediction"},
    "self_test": {"prediction", "preprocess"},
    "recognizer": {
        "_aliases",
        "adaptation",
        "errors",
        "network",
        "prediction",
        "preprocess",
        "profile",
        "reading",
        "self_test",
    },
    "reading": {"network", "prediction", "preprocess", "recognizer"},
    "data": {"errors", "prediction", "preprocess", "progress", "settings", "synthesis"},
    "synthesis": {"errors", "options", "prediction", "preprocess"},
    "bulk": {
        "atomic",
        "data",
        "errors",
        "network",
        "prediction",
        "preprocess",
        "profile",
        "progress",
        "reading",
        "recognizer",
        "text",
    },
    "client": {"errors", "prediction", "preprocess", "reading"},
    "feedback": CORE | {"data"},
    "server": CORE | {"bulk", "feedback", "registry", "self_test"},
    "evaluation": CORE | {"data", "progress", "reading", "registry", "synthesis"},
    "training": CORE | {"_aliases", "data", "evaluation", "progress", "registry", "synthesis"},
    "learning": CORE | {"data", "evaluation", "feedback", "progress", "registry", "training"},
    "cli": CORE
    | {
        "bulk",
        "data",
        "evaluation",
        "feedback",
        "learning",
        "progress",
        "reading",
        "registry",
        "server",
        "training",
    },
    "__main__": {"cli"},
    "__init__": {"_aliases", "adaptation", "errors", "preprocess", "prediction", "recognizer", "client"},
}
KNOWN_ONLY_TO = {
    "onnxruntime": {"network"},
    "onnxruntime.quantization": {"training"},
    "torch": {"training"},
    "onnx": {"evaluation", "training"},
    "sklearn": {"data", "training"},
    "rich": {"progress", "training"},
    "pyarrow": {"bulk", "data", "feedback"},
    "ray": {"bulk"},
    "threadpoolctl": {"training"},
    "tensorboard": {"training"},
    "optuna": {"training"},
    "mlflow": {"training"},
    "jinja2": {"evaluation"},
    "rapidfuzz": {"evaluation"},
    "sqlalchemy": {"feedback", "learning"},
    "alembic": {"feedback"},
    "starlette": {"server"},
    "fastapi": {"server"},
    "pydantic": {"server"},
    "uvicorn": {"server"},
    "httpx": {"client"},
    "python_multipart": {"server"},
    "orjson": {"bulk", "feedback", "server"},
    "argparse": {"cli"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path):
    """(module, whether it is imported inside a function) of every import."""
    tree = ast.parse(path.read_text())
    inside = {
        id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            if node.module == "inkdigits":
                yield from ((f"inkdigits.{alias.name}", id(node) in inside) for alias in node.names)
            else:
                yield node.module, id(node) in inside


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    room = room_of(path)
    for module, inside in imports(path):
        top, _, rest = module.partition(".")
        if top == "inkdigits":
            target = rest.partition(".")[0]
            if target in ("", room, "__version__"):
                continue
            assert target in ROOMS[room], f"{room} imports {module}"
            if room == "cli":
                assert inside or target in BASE or is_for_types_only(path, module), (
                    f"the CLI imports {module} at its top"
                )
        else:
            known = KNOWN_ONLY_TO.get(module, KNOWN_ONLY_TO.get(top, {room}))
            assert room in known, f"{room} imports {module}"


def test_no_imports_run_in_a_circle():
    """Of modules, inside functions too; a ``TYPE_CHECKING`` block runs nowhere."""
    names = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in MODULES}
    names = {name.removesuffix(".__init__"): path for path, name in names.items()}
    graph = {}
    for name, path in names.items():
        tree = ast.parse(path.read_text())
        for_types = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            for inner in ast.walk(node)
        }
        targets = {
            f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in names else node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and id(node) not in for_types
            for alias in node.names
        }
        graph[name] = targets & {*names} - {name}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def is_for_types_only(path: Path, module: str) -> bool:
    guarded = [
        n
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)
    ]
    return any(isinstance(n, ast.ImportFrom) and n.module == module for guard in guarded for n in ast.walk(guard))


def test_every_module_stands_in_a_room_of_the_design_note():
    assert {room_of(path) for path in MODULES} == set(ROOMS)
    note = (ROOT / "docs" / "design.md").read_text()
    for room in set(ROOMS) - {"__init__", "__main__"}:
        assert f"`{room}.py`" in note or f"`{room}/`" in note, room


def test_the_public_api_is_one_complete_list():
    public = {name for name in dir(inkdigits) if not name.startswith("_")}
    modules = {path.stem for path in PACKAGE.iterdir()} | {"import_module", "TYPE_CHECKING", "Any"}
    assert public - modules == set(inkdigits.__all__) - {"__version__"}
    assert set(errors.__all__) <= set(inkdigits.__all__)
    for name in inkdigits.__all__:
        assert getattr(inkdigits, name)
    assert inkdigits.__all__ == sorted(inkdigits.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        _ = inkdigits.Recogniser


def test_old_names_work_and_warn(recognizer):
    told = "inkdigits.image.normalise is now inkdigits.preprocess.preprocess"
    with pytest.warns(DeprecationWarning, match=told) as caught:
        from inkdigits.image import normalise
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning):
        from inkdigits.image import NORMALISATION_VERSION, SIDE, Box, ImageSource, Limits, Normalised, normalise_picture
    with pytest.warns(DeprecationWarning):
        from inkdigits.ready import normalise_each
    with pytest.warns(DeprecationWarning):
        from inkdigits.decode import decode
    with pytest.warns(DeprecationWarning, match=r"inkdigits.recognizer.find_model is now inkdigits.network.find_model"):
        from inkdigits.recognizer import find_model
    assert find_model("cnn")[0] == "cnn"
    assert (SIDE, Box, ImageSource, Limits) == (28, inkdigits.Box, preprocess.ImageSource, inkdigits.Limits)
    assert (normalise, normalise_each, decode) == (
        preprocess.preprocess,
        preprocess.preprocess_batch,
        preprocess.decode,
    )
    assert (normalise_picture, Normalised) == (preprocess.preprocess_picture, preprocess.Preprocessed)
    assert NORMALISATION_VERSION == preprocess.NORMALIZATION_VERSION == "2"
    with pytest.warns(DeprecationWarning, match="Recognizer.answer is now Recognizer.predict_preprocessed"):
        [found] = recognizer.answer([preprocess.BLANK])
    assert found.is_blank
    with pytest.raises(ImportError, match="norm"):
        from inkdigits.image import norm  # noqa: F401
    for name in ("decode", "image", "ready"):  # which importing them made attributes
        delattr(inkdigits, name)


def test_old_modules_of_training_work_and_warn():
    with pytest.warns(DeprecationWarning, match=r"inkdigits.training.data.load is now inkdigits.data.catalog.load"):
        from inkdigits.training.data import load
    with pytest.warns(DeprecationWarning):
        from inkdigits.training.evaluate import evaluate
    with pytest.warns(DeprecationWarning):
        from inkdigits.training.disturb import KINDS, LEVELS, disturb
    with pytest.warns(DeprecationWarning):
        from inkdigits.training.report import measure
    from inkdigits.data import catalog
    from inkdigits.evaluation import evaluate as evaluation
    from inkdigits.evaluation import report
    from inkdigits.synthesis import corruptions

    assert (load, evaluate, disturb) == (catalog.load, evaluation.evaluate, corruptions.corrupt)
    assert (KINDS, LEVELS) == (corruptions.CORRUPTIONS, corruptions.SEVERITIES)
    assert measure is report.measure
    with pytest.warns(DeprecationWarning, match=r"inkdigits.training.fit.train is now inkdigits.training.train.train"):
        from inkdigits.training.fit import train
    with pytest.warns(DeprecationWarning, match=r"inkdigits.training.mlp.train is now inkdigits.training.train.train"):
        from inkdigits.training.mlp import train as train_perceptron
    from inkdigits.training.train import train as entry_point

    assert train is train_perceptron is entry_point


PROGRAMS = [
    path for room in ("benchmarks", "examples", "fuzz", "notebooks", "scripts") for path in (ROOT / room).rglob("*.py")
]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_programs_import_of_the_package_is_there(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "inkdigits":
            module = importlib.import_module(node.module)
            for each in node.names:
                assert hasattr(module, each.name) or importlib.util.find_spec(f"{node.module}.{each.name}"), each.name


def test_every_error_is_under_one_base_and_in_the_tree_that_its_module_draws():
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), inkdigits.InkdigitsError)
        assert name in errors.__doc__


def loaded_by(code: str) -> set[str]:
    """The top-level modules that are loaded once the code has run in a fresh Python."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*{{m.partition('.')[0] for m in sys.modules}})"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[-2].split())


def test_predicting_and_serving_never_load_torch():
    code = "import inkdigits.bulk, inkdigits.cli, inkdigits.server; inkdigits.Recognizer"
    assert not loaded_by(code) & {"torch", "onnx", "sklearn", "rich", "sqlalchemy", "alembic"}


def test_the_library_loads_no_web_framework():
    code = "import inkdigits, inkdigits.bulk, inkdigits.cli; inkdigits.Recognizer, inkdigits.Client"
    assert not loaded_by(code) & {"fastapi", "pydantic", "starlette", "uvicorn"}


def test_a_client_needs_no_onnx_runtime():
    assert "onnxruntime" not in loaded_by("import inkdigits; inkdigits.Client, inkdigits.Prediction, inkdigits.Box")


def test_measuring_needs_no_torch_to_be_loaded():
    assert "torch" not in loaded_by(
        "import inkdigits.data.catalog, inkdigits.evaluation.evaluate, inkdigits.training.config"
    )


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(option):
    code = f"from inkdigits.cli import main\ntry: main(['{option}'])\nexcept SystemExit: pass"
    assert not loaded_by(code) & {"onnxruntime", "numpy", "PIL", "torch", "starlette", "fastapi", "pydantic", "uvicorn"}


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_numbers_of_preprocessing():
    constants = script("constants")
    for page in constants.PAGES:
        written = constants.script(page)
        assert page.read_text(encoding="utf-8") == written, "run: python scripts/constants.py"
        assert all(f"export const {name} = " in written for name in constants.taken(page))


def test_the_page_preprocesses_in_modules_of_the_same_names():
    page, python = (
        {path.stem for path in folder.glob("*.*") if path.suffix in (".js", ".py")}
        for folder in (PACKAGE / "web" / "preprocess", PACKAGE / "preprocess")
    )
    assert page - python == {"index", "constants"}
    assert python - page == {"__init__", "apart", "fast28", "files"}


@pytest.mark.parametrize("page", ["cli.md", "settings.md"])
def test_the_generated_parts_of_the_docs_are_up_to_date(page):
    docs = script("docs")
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert docs.renewed(text) == text, "run: python scripts/docs.py"
    assert docs.names(text), "no generated part was found"
