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
# # From a baseline to the best model
#
# The same images, the same split, one model after the other: a linear floor, a perceptron, a LeNet from 1998, and a
# modern small network. Validation images choose; the test part is looked at once, at the end.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("inkdigits") is None:  # it is not on PyPI: take it from the checkout that this lies in
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "..[notebooks]"], check=True)

# %%
import tempfile
from pathlib import Path

from IPython.display import SVG
from rich.console import Console

from inkdigits.data.catalog import data_at_hand
from inkdigits.progress import silent
from inkdigits.settings import Settings
from inkdigits.training.baselines import logistic
from inkdigits.training.config import MlpConfig, TrainConfig
from inkdigits.training.prepare import joined, prepare
from inkdigits.training.runs import curves, find_all, listed
from inkdigits.training.tracking import Recorder
from inkdigits.training.train import train

settings = Settings.from_env()
console = Console(force_jupyter=False, force_terminal=False, width=120)  # plain lines, no moving bars
data = data_at_hand(settings)  # data = "mnist" downloads it, 11 MB
folder = Path(tempfile.mkdtemp())
small = data == "digits"  # few images, so that a pass over them is short

# %% [markdown]
# ## The floor: a linear model
#
# Logistic regression on the 784 pixels. Whatever follows must beat it.

# %%
pools = prepare(TrainConfig(data=data), settings, silent)
held = joined(pools.validation.values())
answers = logistic(pools.training).logits(held.images / 255).argmax(axis=1)
print(f"logistic regression: {(answers == held.labels).mean():.2%} of {len(held):,} validation images")

# %% [markdown]
# ## The ladder
#
# Each training is recorded as `inkdigits train` does it. The perceptron is written in NumPy alone; the networks are
# shown each image slightly turned, moved and bent, anew in every epoch.

# %%
ladder = [
    MlpConfig(data=data, epochs=40 if small else 20, batch_size=16 if small else 64),
    TrainConfig(network="lenet", data=data, epochs=10 if small else 6, batch_size=32 if small else 128, ema_decay=0.99),
    TrainConfig(
        network="sprint", data=data, epochs=10 if small else 6, batch_size=32 if small else 128, ema_decay=0.99
    ),
]
for config in ladder:
    out = folder / f"{config.network}.onnx"
    with Recorder(config, out, folder / "runs") as recorder:
        train(config, out, settings, console=console, callback=recorder)
    print()

# %% [markdown]
# ## Learning curves
#
# On a logarithmic scale, as the last tenth of a percent is the hardest. The perceptron soon learns no more; the
# convolutions go on.

# %%
runs = find_all(folder / "runs")
SVG(curves(runs))

# %% [markdown]
# The best by validation, by itself: training images are shown disturbed and so look harder than the validation images,
# which are not. A validation curve that rises while the other falls would be overfitting.

# %%
best = max(runs, key=lambda run: run.validation)
SVG(best.curves())

# %% [markdown]
# ## Standing
#
# Chosen by `validation %`. `test %` was measured once for each, on the exported file, through the same path as any
# picture that a user sends.

# %%
print(listed(runs))
