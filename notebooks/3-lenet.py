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
# # Into a LeNet
#
# One classic network, trained and then questioned: which digits it takes for which, its worst mistakes, whether its
# confidence means what it says, and what it looks at.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("inkdigits") is None:  # it is not on PyPI: take it from the checkout that this lies in
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "..[notebooks]"], check=True)

# %%
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console

from inkdigits import Recognizer
from inkdigits.data.catalog import data_at_hand
from inkdigits.evaluation import figures
from inkdigits.evaluation.evaluate import evaluate, unseen
from inkdigits.progress import silent
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.train import train

settings = Settings.from_env()
console = Console(force_jupyter=False, force_terminal=False, width=120)  # plain lines, no moving bars
data = data_at_hand(settings)  # data = "mnist" downloads it, 11 MB
small = data == "digits"

# %% [markdown]
# ## Training
#
# 44,426 weights. The epoch is chosen on validation images, then the network is exported as ONNX and the test part read
# once, by the exported file.

# %%
out = Path(tempfile.mkdtemp()) / "lenet.onnx"
config = TrainConfig(
    network="lenet", data=data, epochs=10 if small else 6, batch_size=32 if small else 128, ema_decay=0.99
)
entry = train(config, out, settings, console=console)

# %% [markdown]
# ## What it confuses

# %%
recognizer = Recognizer(out)
test = unseen(data, settings, recognizer)
found = evaluate(recognizer, test, silent)
figures.confusion(found)

# %% [markdown]
# ## The worst mistakes
#
# The most confident ones first. Some of these a human would not read either; those that one would are the ones to learn
# from.

# %%
worst = found.errors[:20]
read = recognizer.predict_batch([test.images[i] for i in worst])
figures.gallery(
    [p.image for p in read],
    [f"{p.digit} at {p.confidence:.0%}\nlabel {test.labels[i]}" for i, p in zip(worst, read, strict=True)],
)

# %% [markdown]
# ## Whether it knows
#
# Its temperature was fitted on the validation images, so that of the answers with 90% confidence about 90% are right.

# %%
figures.calibration(found)

# %% [markdown]
# ## What it looked at
#
# For one image of each digit, what each part of the ink did for the answer: red spoke for it, blue against it.

# %%
first = [int(np.flatnonzero(test.labels == digit)[0]) for digit in range(10)]
told = [recognizer.predict(test.images[i], explain=True) for i in first]
figures.gallery(
    [p.image for p in told],
    [f"{p.digit} at {p.confidence:.0%}" for p in told],
    columns=5,
    why=[p.explanation for p in told],
)
