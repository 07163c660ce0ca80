"""Settings: one table; the environment, then options; a bad value is named with its setting."""

import os
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

import pytest

from inkdigits import SettingError
from inkdigits.settings import Settings

NAMES = [f.name for f in fields(Settings)]


def test_defaults():
    settings = Settings.from_env({})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 9696, 0)
    assert settings.data_folder is None


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_documented_and_read_from_its_variable(name):
    [f] = [f for f in fields(Settings) if f.name == name]
    assert f.metadata["help"]
    assert f.metadata["env"] in ("HOST", "PORT", "RAY_ADDRESS") or f.metadata["env"] == f"INKDIGITS_{name.upper()}"
    text = f.metadata["choices"][-1] if f.metadata["choices"] else "x"
    value = text if type(f.default) is str else min(max(f.metadata["low"] or 0, 7), f.metadata["high"])
    assert getattr(Settings.from_env({f.metadata["env"]: str(value)}), name) == value
    assert Settings.from_env({f.metadata["env"]: ""}) == Settings()  # empty counts as not set


def test_options_come_before_the_environment_and_none_is_no_option():
    environ = {"PORT": "1234", "HOST": "0.0.0.0"}
    settings = Settings.from_env(environ, port=80, host=None)
    assert (settings.port, settings.host) == (80, "0.0.0.0")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PORT": "http"}, r"port \(PORT\) must be an integer, not 'http'"),
        ({"PORT": "65536"}, r"port \(PORT\) must be from 0 to 65535, not 65536"),
        ({"PORT": "-1"}, r"port \(PORT\) must be from 0 to 65535, not -1"),
        ({"INKDIGITS_WORKERS": "-1"}, r"workers \(INKDIGITS_WORKERS\) must be from 0 to 256, not -1"),
        ({"INKDIGITS_MAX_FILES": "1.5"}, r"max_files \(INKDIGITS_MAX_FILES\) must be an integer, not '1.5'"),
        ({"INKDIGITS_MAX_PIXELS": "10"}, r"max_pixels \(INKDIGITS_MAX_PIXELS\) must be 784 or more, not 10"),
        ({"INKDIGITS_LOG_LEVEL": "loud"}, r"log_level .* must be one of critical, error, .*, not 'loud'"),
    ],
)
def test_a_bad_value_is_named(environ, words):
    with pytest.raises(SettingError, match=words):
        Settings.from_env(environ)


def test_values_in_code_are_checked_too():
    with pytest.raises(SettingError, match=r"port \(PORT\) must be an integer, not '80'"):
        Settings(port="80")
    with pytest.raises(SettingError, match="must be an integer, not True"):
        Settings(workers=True)
    with pytest.raises(SettingError, match="unknown setting 'prot'; did you mean port"):
        Settings.from_env({}, prot=80)


def test_the_home_folder_may_be_abbreviated(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert Settings(data="~/data").data_folder == Path("/home/someone/data")


def test_a_user_without_a_home_has_a_cache_folder():
    """As in a container under an id that its passwd does not name, which OpenShift gives each project."""
    code = (
        "import pwd\n"
        "def unknown(uid): raise KeyError(f'getpwuid(): uid not found: {uid}')\n"
        "pwd.getpwuid = unknown\n"
        "from inkdigits import Recognizer\n"
        "from inkdigits.settings import Settings\n"
        "Recognizer()\n"
        "print(Settings.from_env().cache)\n"
    )
    environ = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()) == Path(tempfile.gettempdir(), "inkdigits")
