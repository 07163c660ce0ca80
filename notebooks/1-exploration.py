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
# # Looking at the digits
#
# Before any model: how many there are of each, what they look like on average and one by one, which of them resemble
# each other, and which even a good reader is not sure of.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("inkdigits") is None:  # it is not on PyPI: take it from the checkout that this lies in
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "..[notebooks]"], check=True)

# %%
import numpy as np
from sklearn.manifold import TSNE

from inkdigits import Recognizer
from inkdigits.data.catalog import data_at_hand, load
from inkdigits.evaluation import figures
from inkdigits.progress import silent
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.prepare import prepare

settings = Settings.from_env()
data = data_at_hand(settings)  # data = "mnist" downloads it, 11 MB
pools = prepare(TrainConfig(data=data), settings, silent)
images, labels = pools.training.images, pools.training.labels
held = sum(map(len, pools.validation.values()))
print(f"{data}: {len(images):,} images to learn from, {held:,} held back to choose by; the test part stays closed")

# %% [markdown]
# ## Balance
#
# Where every digit is about as frequent, plain accuracy is a fair measure.

# %%
figures.balance(labels)

# %% [markdown]
# ## The average digit, and where the digits differ
#
# Every image went through the normalisation that `inkdigits` applies to any picture: ink on empty paper, centred by its
# mass, 28×28. The mean shows the common shape; the deviation is high where hands disagree: the tail of the 2, the bar
# of the 7, the slant of the 1.

# %%
figures.averages(images, labels)

# %% [markdown]
# ## Samples
#
# A row for each digit, drawn at random.

# %%
rng = np.random.default_rng(0)
chosen = np.concatenate([rng.choice(np.flatnonzero(labels == digit), 12, replace=False) for digit in range(10)])
figures.gallery(images[chosen], columns=12)

# %% [markdown]
# ## A map
#
# t-SNE lays images that look alike near each other, without being told their labels. Islands are digits that are easy
# to tell; where two touch, mistakes will happen.

# %%
few = rng.permutation(len(images))[:1500]
pixels = images[few].reshape(len(few), -1) / 255
points = TSNE(init="pca", perplexity=30, random_state=0).fit_transform(pixels)
figures.scatter(points, labels[few], f"{len(few):,} images by likeness (t-SNE of the pixels)")

# %% [markdown]
# ## The ambiguous ones
#
# The shipped model reads the raw images; these are the ones where its first guess is closest to its second.

# %%
train = load(data, settings, part="train").limited(1500)
read = Recognizer().predict_batch(train.images)
ranked = [sorted(range(10), key=lambda digit, p=p: -p.probabilities[digit])[:2] for p in read]
margins = [p.probabilities[a] - p.probabilities[b] for p, (a, b) in zip(read, ranked, strict=True)]
unsure = np.argsort(margins)[:20]
figures.gallery(
    [read[i].image for i in unsure],
    [
        f"{a} {read[i].probabilities[a]:.0%}, {b} {read[i].probabilities[b]:.0%}\nlabel {train.labels[i]}"
        for i in unsure
        for a, b in [ranked[i]]
    ],
)
