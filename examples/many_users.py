"""Play a service with many users: they draw, a server reads, they say what it is, and a reviewer looks through it.

    inkdigits serve --model models/ --feedback feedback.db
    python examples/many_users.py

The users write MNIST's digits with a slant to the left, which most models read worse than upright ones. Each of them
sends some pictures to POST /predict, and for each answer POST /feedback with what the picture really is. Then a
reviewer goes through the audit sample, as people do at /review. Start the server with INKDIGITS_FEEDBACK_AUDIT=1, so
that a few thousand pictures suffice, and with the hash of the review key in INKDIGITS_REVIEW_KEYS.
"""

import argparse
import io
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import numpy as np
from PIL import Image

from inkdigits.data.catalog import load
from inkdigits.data.dataset import VALIDATION, VALIDATION_SEED, stratified
from inkdigits.settings import Settings

MARGIN = 20  # pixels around a digit
AT_ONCE = 4  # users


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:9696", help="of the server")
    parser.add_argument("--users", type=int, default=260, metavar="N", help="how many (default: 260)")
    parser.add_argument("--pictures", type=int, default=18, metavar="N", help="of each user (default: 18)")
    parser.add_argument("--slant", type=float, default=1.0, help="pixels to the left per pixel down (default: 1)")
    args = parser.parse_args()
    images, labels = digits(args.users * args.pictures)
    files = [png(slanted(image, args.slant)) for image in images]
    truth = {file: str(label) for file, label in zip(files, labels, strict=True)}
    with httpx.Client(base_url=args.url, timeout=60) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        parts = [files[user :: args.users] for user in range(args.users)]
        right = sum(pool.map(partial(use, client, truth), parts))
        print(f"{args.users:,} users sent {len(files):,} pictures; {right / len(files):.1%} were read right")
        key = os.environ.get("REVIEW_KEY", "")
        if key:
            print(f"the reviewer accepted {review(client, key):,} of the audit sample")
        else:
            print("set REVIEW_KEY to the review key to have the audit sample reviewed, too")


def digits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of MNIST's training part, without those that trainings and the gate validate on, and their labels."""
    train = load("mnist", Settings.from_env(), part="train")
    allowed, _ = stratified(train.labels, VALIDATION, VALIDATION_SEED)
    chosen = np.random.default_rng(0).permutation(allowed)[:n]
    return np.asarray(train.images[chosen]), train.labels[chosen]


def slanted(image: np.ndarray, slant: float) -> Image.Image:
    """A digit, dark on light, that leans to the left."""
    wide = Image.fromarray(255 - np.pad(image, MARGIN))
    height = wide.height
    return wide.transform(
        wide.size, Image.Transform.AFFINE, (1, -slant, slant * height / 2, 0, 1, 0), Image.Resampling.BILINEAR,
        fillcolor=255,
    )  # fmt: skip


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def use(client: httpx.Client, truth: dict[bytes, str], files: list[bytes]) -> int:
    """One user: has each picture read, and says what it is; how many were right."""
    name, right = uuid.uuid4().hex, 0
    for file in files:
        answer = client.post("/predict", params={"feedback": "true"}, content=file).raise_for_status().json()
        read = str(answer["digit"]) if answer["is_digit"] else ""
        is_right = read == truth[file]
        right += is_right
        correction = {
            "key": str(uuid.uuid4()),
            "consent": True,
            "kind": "confirmed" if is_right else "corrected",
            "label": truth[file],
            "prediction_id": answer["prediction_id"],
            "client": name,
            "source": "simulation",
        }
        client.post("/feedback", json=correction).raise_for_status()
    return right


def review(client: httpx.Client, key: str) -> int:
    """The reviewer: accepts what the users said, one picture at a time, as the page at /review does."""
    headers, count = {"Authorization": f"Bearer {key}"}, 0
    question = {"queue": "audit", "reviewer": "simulated"}
    while True:
        item = client.get("/review/next", params=question, headers=headers).raise_for_status().json()["item"]
        if item is None:
            return count
        verdict = {"verdict": "accept", "reviewer": "simulated"}
        client.post(f"/review/{item['row']}", json=verdict, headers=headers).raise_for_status()
        count += 1


if __name__ == "__main__":
    main()
