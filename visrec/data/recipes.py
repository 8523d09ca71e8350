"""Recipes: public data sets that `visrec fetch` turns into a bucket of a layout we read.

``fairface`` is the copy of FairFace (Karkkainen and Joo, WACV 2021, CC BY 4.0) that Hugging Face keeps as Parquet, at a
fixed revision, written out in FairFace's own layout. ``cloud-annotations`` is the zip that the Cloud Annotations tool
exports, from a link of one's own. ``archive`` is any zip or tar.
"""

from dataclasses import dataclass
from pathlib import Path

from visrec.data.images import is_image_name
from visrec.errors import InputError, nearest

REVISION = "54d573cdb8b5af490ba8da9da2799628f6e5c496"
PLACE = f"https://huggingface.co/datasets/HuggingFaceM4/FairFace/resolve/{REVISION}"
FAIRFACE = {
    "0.25": (
        "train-00000-of-00002-d405faba4f4b9b85.parquet",
        "train-00001-of-00002-dd3cb68164727418.parquet",
        "validation-00000-of-00001-951dbd63c8724ee1.parquet",
    ),
    "1.25": (
        "train-00000-of-00004-e715178553977907.parquet",
        "train-00001-of-00004-f38b58e3987f3fbf.parquet",
        "train-00002-of-00004-239e931aa9c3b3e6.parquet",
        "train-00003-of-00004-847c279691a19548.parquet",
        "validation-00000-of-00001-09e3e67bb00ab4ec.parquet",
    ),
}
"""Files by the margin around the face, as a share of its size: 0.25 (560 MB) or 1.25 (2.1 GB)."""

RECIPES = ("archive", "cloud-annotations", "fairface")


@dataclass(frozen=True)
class Recipe:
    """What to read and what becomes of it: the links, and whether they are FairFace's Parquet files."""

    name: str
    links: tuple[str, ...]

    @property
    def build(self):
        """What `visrec.storage.fetch.fetch` shall do with the files; None: unpack."""
        if self.name != "fairface":
            return None
        from visrec.data.fairface_parquet import convert

        return convert


def recipe_for(url: str, name: str | None = None, *, place: str | None = None) -> Recipe:
    """The recipe for a link, or for ``fairface`` and ``fairface-1.25``, which need none.

    Parameters
    ----------
    url : a link, or ``fairface`` (margin 0.25) or ``fairface-1.25``
    name : one of `RECIPES`; default: told by the link
    place : folder of FairFace's Parquet files on the web, default `PLACE`; a mirror of one's own must keep their names

    Raises
    ------
    InputError
        If there is no such recipe.
    """
    if name and name not in RECIPES:
        raise InputError(f"There is no recipe '{name}'. {nearest(name, RECIPES)}")
    word = url.strip().lower()
    if word in ("fairface", "fairface-0.25", "fairface-1.25"):
        margin = word.removeprefix("fairface").lstrip("-") or "0.25"
        return Recipe("fairface", tuple(f"{place or PLACE}/{margin}/{file}" for file in FAIRFACE[margin]))
    if name is None:
        name = "fairface" if url.partition("?")[0].endswith(".parquet") else "archive"
    return Recipe(name, (url,))


def check_bucket(folder: Path, recipe: Recipe) -> int:
    """Count the images of a bucket that was fetched.

    Raises
    ------
    InputError
        If there is none, or the labels that the recipe promises are missing.
    """
    if recipe.name == "cloud-annotations" and not (folder / "_annotations.json").is_file():
        raise InputError(
            "There is no _annotations.json in the archive, so it is no export of Cloud Annotations. In the tool, "
            "choose File, Export as Zip; any other archive can be fetched without `--recipe`."
        )
    count = sum(is_image_name(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file())
    if not count:
        raise InputError("The archive holds no image. Expected images and their labels.")
    return count
