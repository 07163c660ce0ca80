"""Search spaces: what a file may say, and that a mistake in it is found before the first trial."""

from __future__ import annotations

import json

import pytest

from inkdigits import SettingError
from inkdigits.training.config import MlpConfig, TrainConfig
from inkdigits.training.search.space import Range, Space

TEXT = """
[fixed]
network = "sprint"
epochs = 4
[search]
learning_rate = { low = 1e-3, high = 1, log = true }
batch_size = { low = 32, high = 128, step = 32 }
augment = { low = 0, high = 1 }
precision = { choices = ["float32", "bfloat16"] }
"""


def written(tmp_path, text, name="space.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_each_option_is_searched_as_what_it_is(tmp_path):
    space = Space.read(written(tmp_path, TEXT))
    assert space.fixed == {"network": "sprint", "epochs": 4}
    assert space.search == {
        "learning_rate": Range(1e-3, 1.0, log=True),
        "batch_size": Range(32, 128, step=32),
        "augment": Range(0.0, 1.0),
        "precision": ("float32", "bfloat16"),
    }
    assert type(space.search["learning_rate"].high) is type(space.search["augment"].low) is float
    assert type(space.search["batch_size"].step) is int
    config = space.config({"learning_rate": 0.5, "batch_size": 64, "augment": 0.25, "precision": "float32"})
    assert config == TrainConfig(
        network="sprint", epochs=4, learning_rate=0.5, batch_size=64, augment=0.25, precision="float32"
    )


def test_json_says_the_same_as_toml_and_the_perceptron_has_its_own_options(tmp_path):
    table = {
        "fixed": {"network": "mlp"},
        "search": {"hidden": {"choices": ["20", "40,20"]}, "l2": {"low": 0, "high": 1}},
    }
    space = Space.read(written(tmp_path, json.dumps(table), "space.json"))
    assert space.config({"hidden": "20", "l2": 0.5}) == MlpConfig(hidden="20", l2=0.5)
    assert Space.from_dict(space.to_dict() | {"search": table["search"]}) == space


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[search]", "[serach]", "unknown part 'serach'; did you mean search?"),
        ("epochs = 4", "epoch = 4", "unknown training option 'epoch'; did you mean epochs?"),
        ("batch_size =", "batchsize =", "unknown training option 'batchsize'; did you mean batch_size?"),
        ("low = 32", "low = 32.5", "search.batch_size.low must be an integer, not 32.5"),
        ("low = 1e-3", 'low = "1e-3"', "search.learning_rate.low must be a number, not '1e-3'"),
        ("low = 1e-3", "low = 0", "log = true must have a low above 0 and no step"),
        ("low = 1e-3", "low = 2", "search.learning_rate.low must be less than high, not 2.0 with high 1.0"),
        ("log = true", 'log = "yes"', "search.learning_rate.log must be true or false, not 'yes'"),
        ("step = 32", "step = 0", "search.batch_size.step must be above 0, not 0"),
        ("step = 32", "stop = 32", "unknown key of search.batch_size: 'stop'; did you mean step?"),
        ("high = 1 }", "high = 2 }", "training option augment must be from 0 to 1, not 2.0"),
        ("low = 0, high", "high", "search.augment has no low; give low and high, or choices"),
        ('"bfloat16"]', '"float8"]', "training option precision must be one of auto, float32, bfloat16, not 'float8'"),
        ('choices = ["float32", "bfloat16"]', "low = 1, high = 2", "option precision is text"),
        ('choices = ["float32", "bfloat16"]', "choices = []", "must be a list with at least one value"),
        ('{ choices = ["float32", "bfloat16"] }', "1", "search.precision must be a table such as"),
        ("[search]", "augment = 1\n[search]", "option 'augment' is both fixed and searched"),
        ('"sprint"', '"mlp"', "network mlp has no training option 'augment'"),
        (TEXT[TEXT.index("[search]") :], "", "there is nothing to search"),
        ("[fixed]", "[fixed", "is damaged"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path, old, new, words):
    assert old in TEXT
    with pytest.raises(SettingError) as error:
        Space.read(written(tmp_path, TEXT.replace(old, new, 1)))
    assert words in str(error.value)
    assert "space.toml" in str(error.value)
