"""The demo buckets: drawn images to learn visrec on, made by code, the same ones every time.

``demo-faces`` has FairFace's layout and one more column, ``expression`` (smiling or neutral). Race, age and gender are
drawn by lot and say nothing about how an avatar looks: groups differ only in how many they are and in the conditions
their photos were "taken" under, which are written down in `PLANTED`, so that an audit can be checked against the truth.
``demo-mugs`` has the layout of Cloud Annotations, with a few unlabelled images and dangling entries, as real ones have.
"""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from visrec.data.drawing import KITCHEN, avatar, kitchenware
from visrec.data.fairface import GENDERS
from visrec.storage.folder import FolderStore

SEED = 20_24
SIDE = 128
COUNTS = {"train": 2000, "val": 1200}
EXPRESSIONS = ("smiling", "neutral")
MUGS = 240
GRAINS = 20


@dataclass(frozen=True)
class Condition:
    """A photo condition planted in one cell.

    Attributes
    ----------
    where : the cell, attribute -> value; an attribute that is not named may be anything
    condition : ``under_exposure``, ``blur`` or ``noise``
    strength : stops of light lost; radius of the blur in pixels; standard deviation of the noise in grey levels
    share : fraction of the cell's photos that it befalls
    """

    where: dict[str, str]
    condition: str
    strength: float
    share: float


PLANTED = (
    Condition({"race": "Southeast Asian"}, "under_exposure", 4.2, 0.85),
    Condition({"age": "more than 70"}, "blur", 7.5, 0.9),
    Condition({"race": "White", "age": "20-29"}, "noise", 90.0, 0.9),
)
"""Where the demo's photos are worse; nothing else distinguishes the cells but their size."""

RACE_WEIGHTS = {
    "White": 0.22, "Black": 0.16, "East Asian": 0.16, "Southeast Asian": 0.09, "Indian": 0.14, "Middle Eastern": 0.11,
    "Latino_Hispanic": 0.12,
}  # fmt: skip
AGE_WEIGHTS = {
    "0-2": 0.03, "3-9": 0.11, "10-19": 0.11, "20-29": 0.23, "30-39": 0.18, "40-49": 0.13, "50-59": 0.09, "60-69": 0.05,
    "more than 70": 0.07,
}  # fmt: skip

FACES_TOML = """\
# How visrec trains on this bucket unless told otherwise: small and from scratch, no download needed.
[train]
target = "expression"
by = ["race", "age"]
image_size = 80
alpha = 0.35
weights = "none"
epochs = 0
fine_tune_epochs = 16
batch_size = 32
"""
MUGS_TOML = """\
# How visrec trains on this bucket unless told otherwise: small and from scratch, no download needed.
[train]
target = "label"
image_size = 96
alpha = 0.35
weights = "none"
epochs = 0
fine_tune_epochs = 30
batch_size = 16
"""


def make_demo_buckets(folder: Path, *, seed: int = SEED) -> list[Path]:
    """Make ``demo-faces`` and ``demo-mugs`` below ``folder``; what is there already is made anew, byte for byte.

    Returns
    -------
    list of Path
        The two bucket folders.
    """
    faces, mugs = Path(folder) / "demo-faces", Path(folder) / "demo-mugs"
    make_faces(faces, COUNTS, seed)
    make_mugs(mugs, MUGS, seed)
    return [faces, mugs]


def make_tiny_bucket(folder: Path, n: int = 60, *, seed: int = SEED, size: int = 48) -> Path:
    """A small bucket in the layout of ``demo-faces``: ``n`` training images, half as many to validate."""
    make_faces(Path(folder), {"train": n, "val": max(2, n // 2)}, seed, size)
    return Path(folder)


def people(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Who the avatars are said to be: age, gender, race, service_test and expression, each drawn by lot."""
    return pd.DataFrame(
        {
            "age": rng.choice(list(AGE_WEIGHTS), count, p=_shares(AGE_WEIGHTS)),
            "gender": rng.choice(GENDERS, count),
            "race": rng.choice(list(RACE_WEIGHTS), count, p=_shares(RACE_WEIGHTS)),
            "service_test": rng.choice(["True", "False"], count),
            "expression": rng.permutation(np.resize(EXPRESSIONS, count)),
        }
    )


def make_faces(folder: Path, counts: dict[str, int], seed: int = SEED, size: int = SIDE) -> None:
    """A bucket of drawn avatars in FairFace's layout with ``counts[split]`` images."""
    store = FolderStore(folder, create=True)
    for number, (split, count) in enumerate(counts.items()):
        table = people(count, np.random.default_rng([seed, number]))
        table.insert(0, "file", [f"{split}/{i + 1}.jpg" for i in range(count)])
        rows = list(enumerate(table.to_dict("records")))

        def draw(item: tuple[int, dict], number: int = number) -> None:
            index, person = item
            rng = np.random.default_rng([seed, number, index])
            image = avatar(rng, person["expression"] == "smiling", size)
            store.write_fast(person["file"], jpeg(_photographed(image, person, rng)))

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(draw, rows))
        store.write(f"fairface_label_{split}.csv", table.to_csv(index=False).encode())
    store.write("visrec.toml", FACES_TOML.encode())


def make_mugs(folder: Path, count: int, seed: int = SEED) -> None:
    """A bucket of drawn kitchenware in Cloud Annotations' layout: labelled, unlabelled, and dangling entries."""
    store = FolderStore(folder, create=True)
    rng = np.random.default_rng([seed, 100])
    annotations: dict[str, list[dict]] = {}
    for index in range(count):
        kind = KITCHEN[index % len(KITCHEN)]
        key = f"{_identity(rng)}.jpg"
        store.write_fast(key, jpeg(kitchenware(np.random.default_rng([seed, 101, index]), kind)))
        if index % 40 != 39:  # a few are left unlabelled, as real projects do
            annotations[key] = [{"label": kind, **({"id": _identity(rng)} if index % 2 else {})}]
    for kind in KITCHEN[:3]:  # entries whose image was deleted later
        annotations[f"{_identity(rng)}.jpg"] = [{"label": kind}]
    document = {"version": "1.0", "type": "classification", "labels": list(KITCHEN), "annotations": annotations}
    store.write("_annotations.json", json.dumps(document, indent=1).encode())
    store.write("visrec.toml", MUGS_TOML.encode())


def conditions_of(person: dict) -> list[Condition]:
    """The planted conditions that may befall the photo of this person."""
    return [c for c in PLANTED if all(person[attribute] == value for attribute, value in c.where.items())]


def degrade(image: Image.Image, condition: str, strength: float, rng: np.random.Generator) -> Image.Image:
    """The image as it would have come out under a photo condition; strength as in `Condition`."""
    if condition == "blur":
        return image.filter(ImageFilter.GaussianBlur(strength * image.width / SIDE))
    pixels = np.asarray(image, dtype=np.float32)
    if condition == "under_exposure":
        # little light, then the sensor's own noise, then what an eight-bit file keeps of it
        pixels = pixels * 2.0**-strength + rng.normal(0, 2.0, pixels.shape)
    elif condition == "noise":
        pixels = pixels + _grain(image.size, strength, rng)
    else:
        raise ValueError(f"'{condition}' is no photo condition; expected under_exposure, blur or noise.")
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _grain(size: tuple[int, int], strength: float, rng: np.random.Generator) -> np.ndarray:
    """Noise as a small sensor makes it at night: half in single pixels, half in blotches of a twentieth of the side."""
    width, height = size
    fine = rng.normal(0, 1, (height, width, 3)).astype(np.float32)
    coarse = rng.normal(0, 1, (GRAINS, GRAINS, 3)).astype(np.float32)
    blotches = [Image.fromarray(coarse[:, :, c]).resize(size, Image.Resampling.BICUBIC) for c in range(3)]
    return strength * (0.5 * fine + 0.7 * np.stack([np.asarray(b) for b in blotches], axis=-1))


def jpeg(image: Image.Image, quality: int = 88) -> bytes:
    """Encoded bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _photographed(image: Image.Image, person: dict, rng: np.random.Generator) -> Image.Image:
    # every photo has a little of everything, so that a condition is a matter of degree
    image = degrade(image, "blur", rng.uniform(0, 0.7), rng)
    image = degrade(image, "noise", rng.uniform(0, 8), rng)
    for planted in conditions_of(person):
        if rng.random() < planted.share:
            image = degrade(image, planted.condition, planted.strength * rng.uniform(0.85, 1.15), rng)
    return image


def _shares(weights: dict[str, float]) -> np.ndarray:
    values = np.array(list(weights.values()))
    return values / values.sum()


def _identity(rng: np.random.Generator) -> str:
    h = rng.bytes(16).hex()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"
