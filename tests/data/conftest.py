"""A bucket with every fault the doctor knows, planted by code, and the same bucket without."""

import io

import numpy as np
import pytest
from PIL import Image

from visrec.storage.folder import FolderStore

CLASSES = ("cat", "dog")
SITES = ("north", "south")
COUNTS = {"train": 160, "val": 120}


def photo(seed: int, size=(64, 64)) -> Image.Image:
    """A picture that no other seed's resembles."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def clean_rows() -> list[dict]:
    rows = []
    for split, count in COUNTS.items():
        for n in range(count):
            rows.append(
                {"file": f"{split}/{n}.jpg", "label": CLASSES[n % 2], "split": split, "site": SITES[n // 2 % 2]}
            )
    return rows


def write_table(store, rows) -> None:
    lines = [",".join(str(row.get(c, "")) for c in ("file", "label", "split", "site")) for row in rows]
    store.write("labels.csv", "\n".join(["file,label,split,site", *lines]).encode())


def make_clean(folder) -> FolderStore:
    store = FolderStore(folder, create=True)
    rows = clean_rows()
    for number, row in enumerate(rows):
        store.write_fast(row["file"], encoded(photo(number)))
    write_table(store, rows)
    store.write("visrec.toml", b'[train]\nby = ["site"]\n')
    return store


def make_faulty(folder) -> tuple[FolderStore, dict[str, str]]:
    """The store, and problem kind -> something that must be among its examples."""
    store = make_clean(folder)
    rows = {row["file"]: row for row in clean_rows()}
    planted = {}

    def plant(kind: str, key: str, data: bytes) -> None:
        store.write(key, data)
        planted[kind] = key

    exif = Image.Exif()
    exif[0x0112] = 6
    whole = store.read("train/0.jpg")
    plant("zero_byte", "train/10.jpg", b"")
    plant("non_image", "train/11.jpg", b"<html>404 not found</html>")
    plant("truncated", "train/12.jpg", whole[: len(whole) // 2])
    plant("unreadable", "train/13.jpg", b"\x89PNG" + b"no PNG after all" * 9)
    plant("decompression_bomb", "train/14.jpg", encoded(Image.new("1", (14_200, 14_200)), "PNG"))
    plant("animated", "train/15.jpg", encoded(photo(900), "GIF", save_all=True, append_images=[photo(901)]))
    plant("cmyk", "train/16.jpg", encoded(photo(902).convert("CMYK")))
    plant("sixteen_bit", "train/17.jpg", encoded(Image.fromarray(_ramp16()), "PNG"))
    plant("palette", "train/18.jpg", encoded(photo(903).convert("P"), "PNG"))
    plant("transparency", "train/19.jpg", encoded(photo(904).convert("RGBA"), "PNG"))
    plant("exif_rotated", "train/20.jpg", encoded(photo(905), exif=exif))
    plant("tiny", "train/21.jpg", encoded(photo(906, (12, 12))))
    plant("extreme_aspect", "train/22.jpg", encoded(photo(907, (400, 64))))
    plant("greyscale", "train/23.jpg", encoded(photo(908).convert("L")))
    plant("wrong_extension", "train/24.jpg", encoded(photo(909), "PNG"))
    plant("duplicate", "train/31.jpg", store.read("train/33.jpg"))
    plant("duplicate_across_splits", "val/40.jpg", store.read("train/40.jpg"))
    plant("conflicting_labels", "train/45.jpg", store.read("train/44.jpg"))
    plant("near_duplicate", "train/51.jpg", encoded(photo(53), quality=60))
    plant("near_duplicate_across_splits", "val/60.jpg", encoded(photo(60), quality=60))
    plant("unlabelled", "train/unlabelled.jpg", encoded(photo(910)))
    store.delete("train/70.jpg")
    planted["missing_file"] = "train/70.jpg"
    for n in range(80, 84):
        rows[f"train/{n}.jpg"]["label"] = " CAT"
    planted["alias_label"] = "CAT"
    for n in (90, 91, 92):
        rows[f"train/{n}.jpg"]["site"] = "NORTH"
    planted["alias_value"] = "NORTH"
    for n in range(100, 105):
        rows[f"train/{n}.jpg"]["label"] = "rare bird"
    planted["rare_class"] = "rare bird"
    rows["train/110.jpg"]["label"] = "unicorn"
    planted["single_image_class"] = "unicorn"
    for n in range(5):
        rows[f"val/{n}.jpg"]["site"] = "island"
    planted["small_cell"] = "island"
    for n in range(120, 156):
        rows[f"train/{n}.jpg"] |= {"label": "fish", "site": "south"}
    planted["confounding"] = "fish"
    planted["unlike_splits"] = "fish"
    rows["train/3.jpg"]["label"] = ""
    planted["missing_label"] = "train/3.jpg"
    rows["train/4.jpg"]["site"] = ""
    planted["missing_attribute"] = "train/4.jpg"
    rows["train/5.jpg"]["split"] = "holdout"
    planted["unknown_split"] = "holdout"
    extra = [rows["train/6.jpg"], {**rows["train/7.jpg"], "label": "cat"}]
    planted["repeated_row"], planted["conflicting_rows"] = "train/6.jpg", "train/7.jpg"
    write_table(store, [*rows.values(), *extra])
    return store, planted


def _ramp16() -> np.ndarray:
    return np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)


@pytest.fixture(scope="session")
def clean_bucket(tmp_path_factory):
    return make_clean(tmp_path_factory.mktemp("clean") / "clean")


@pytest.fixture(scope="session")
def faulty_bucket(tmp_path_factory):
    return make_faulty(tmp_path_factory.mktemp("faulty") / "faulty")
