# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tuning
#
# A search for better training options: what to search is a table, Optuna proposes, unpromising trials end early, and
# only the validation images judge. The same as `inkdigits tune space.toml --out study`.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("inkdigits") is None:  # it is not on PyPI: take it from the checkout that this lies in
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "..[notebooks]"], check=True)

# %%
import tempfile
from pathlib import Path

import optuna
from IPython.display import SVG
from rich.console import Console

from inkdigits.data.catalog import data_at_hand
from inkdigits.evaluation import figures
from inkdigits.settings import Settings
from inkdigits.training.config import config_of, read_options
from inkdigits.training.search.space import Space
from inkdigits.training.search.tune import tune
from inkdigits.training.train import train

settings = Settings.from_env()
console = Console(force_jupyter=False, force_terminal=False, width=120)  # plain lines, no moving bars
data = data_at_hand(settings)  # data = "mnist" downloads it, 11 MB
study = Path(tempfile.mkdtemp()) / "study"

# %% [markdown]
# ## The space
#
# A small network, few epochs: enough to tell good options from bad ones.

# %%
space = Space.from_dict(
    {
        "fixed": {"network": "sprint", "data": data, "epochs": 4},
        "search": {
            "learning_rate": {"low": 1e-4, "high": 5e-2, "log": True},
            "batch_size": {"choices": [64, 128]},
            "augment": {"low": 0.0, "high": 1.0},
            "ema_decay": {"choices": [0.0, 0.9, 0.99]},
        },
    }
)

# %% [markdown]
# ## The study
#
# If this is interrupted, running the cell again goes on; so does a larger number of trials.

# %%
best = tune(space, study, settings, trials=20, console=console)

# %% [markdown]
# ## Its history
#
# Filled points went to their end, hollow ones were ended early; the line is the best so far.

# %%
SVG(filename=str(study / "history.svg"))

# %% [markdown]
# ## What mattered

# %%
SVG(filename=str(study / "importance.svg"))

# %% [markdown]
# The learning rate more closely: every trial that went to its end.

# %%
trials = optuna.load_study(study_name="inkdigits", storage=f"sqlite:///{study / 'study.db'}").trials
complete = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
figures.trade(
    [trial.params["learning_rate"] for trial in complete],
    [trial.value for trial in complete],
    "learning_rate",
    log=True,
)

# %% [markdown]
# ## The model of the best options
#
# `best.toml` is a file of options that `inkdigits train --config` takes. Now, and only now, the test part is read.

# %%
print((study / "best.toml").read_text())
entry = train(config_of(read_options(study / "best.toml")), study / "best.onnx", settings, console=console)
