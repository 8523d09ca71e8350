"""One contract for all layouts: however the labels are written, the same images get the same labels."""

import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from visrec.config import Settings
from visrec.data.layouts import read_bucket
from visrec.data.split import assign_splits
from visrec.errors import InputError, NotFoundError
from visrec.storage.buckets import open_bucket
from visrec.storage.folder import FolderStore

LABELS = {f"img {n}.jpg": ("cat" if n % 3 else "dog") for n in range(12)}


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), number * 10, dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def fairface(store):
    for split in ("train", "val"):
        rows = [
            f"{split}/{name},20-29,{'Male' if label == 'cat' else 'Female'},White,True"
            for name, label in LABELS.items()
        ]
        store.write(f"fairface_label_{split}.csv", "\n".join(["file,age,gender,race,service_test", *rows]).encode())
        for number, name in enumerate(LABELS):
            store.write(f"{split}/{name}", picture(number))


def label_table(store):
    rows = [f"{name},{label}" for name, label in LABELS.items()]
    store.write("labels.csv", "\n".join(["file,label", *rows]).encode())
    for number, name in enumerate(LABELS):
        store.write(name, picture(number))


def cloud_annotations(store):
    annotations = {name: [{"label": label}] for name, label in LABELS.items()}
    document = {"version": "1.0", "type": "classification", "labels": ["cat", "dog"], "annotations": annotations}
    store.write("_annotations.json", json.dumps(document).encode())
    for number, name in enumerate(LABELS):
        store.write(name, picture(number))


def class_folders(store):
    for number, (name, label) in enumerate(LABELS.items()):
        store.write(f"{label}/{name}", picture(number))


def class_folders_in_a_folder(store):
    for number, (name, label) in enumerate(LABELS.items()):
        store.write(f"dataset/{label}/{name}", picture(number))


def json_lines(store):
    rows = [json.dumps({"file": name, "label": label, "boxes": [1, 2]}) for name, label in LABELS.items()]
    store.write("labels.jsonl", "\n".join(rows).encode())
    for number, name in enumerate(LABELS):
        store.write(name, picture(number))


def parquet(store):
    buffer = io.BytesIO()
    pd.DataFrame({"file": list(LABELS), "label": list(LABELS.values())}).to_parquet(buffer)
    store.write("labels.parquet", buffer.getvalue())
    for number, name in enumerate(LABELS):
        store.write(name, picture(number))


def imagefolder(store):
    rows = [f'"{name}",{label}' for name, label in LABELS.items()]
    for split in ("train", "validation"):
        store.write(f"{split}/metadata.csv", "\n".join(["file_name,label", *rows]).encode())
        for number, name in enumerate(LABELS):
            store.write(f"{split}/{name}", picture(number))


def coco(store):
    numbers = {name: number for number, name in enumerate(LABELS)}
    document = {
        "images": [{"id": number, "file_name": name, "width": 8, "height": 8} for name, number in numbers.items()],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {"id": 9, "image_id": numbers[name], "category_id": 1 if label == "cat" else 7, "bbox": [0, 0, 1, 1]}
            for name, label in LABELS.items()
        ],
    }
    store.write("annotations/instances_train2017.json", json.dumps(document).encode())
    for number, name in enumerate(LABELS):
        store.write(f"train2017/{name}", picture(number))


NAMES = {"class_folders_in_a_folder": "class_folders", "json_lines": "label_table", "parquet": "label_table"}
MAKERS = {
    f.__name__: f
    for f in (
        fairface, label_table, cloud_annotations, class_folders, class_folders_in_a_folder, json_lines, parquet,
        imagefolder, coco,
    )
}  # fmt: skip


@pytest.fixture(params=MAKERS)
def layout(request) -> str:
    return request.param


@pytest.fixture
def store(layout, tmp_path):
    store = FolderStore(tmp_path)
    MAKERS[layout](store)
    return store


def test_layout_is_detected_and_nothing_is_complained_of(layout, store):
    """A clean bucket has no problems."""
    table = read_bucket(store)

    assert NAMES.get(layout, layout) == table.layout
    assert [] == table.problems
    assert [] == table.repairs


def test_every_image_has_its_label(layout, store):
    """The same pairs of name and label, whatever the layout."""
    table = read_bucket(store)
    names = {"Male": "cat", "Female": "dog"} if layout == "fairface" else {"cat": "cat", "dog": "dog"}
    found = {
        file.rpartition("/")[2]: names[label]
        for file, label in zip(table.samples["file"], table.samples[table.target], strict=True)
    }

    assert found == LABELS


def test_files_are_keys_of_the_store(store):
    """What the table names can be read."""
    table = read_bucket(store)

    assert set(table.samples["file"]) <= set(table.objects)
    assert all(store.read(file) for file in table.samples["file"])
    assert table.samples["file"].is_monotonic_increasing


def test_columns_begin_alike(store):
    """file, split, then labels; targets and attributes are columns."""
    table = read_bucket(store)

    assert ["file", "split"] == list(table.samples.columns[:2])
    assert set(table.targets) | set(table.attributes) <= set(table.samples.columns)
    assert table.target in table.targets
    assert set(table.samples["split"]) <= {"", "train", "val", "test"}


def test_splits_are_completed(store):
    """Training, tuning and validation images, whether or not the bucket said which."""
    samples = assign_splits(read_bucket(store))

    assert {"train", "tune", "val"} <= set(samples["split"])
    assert ["file", "label", "split"] == list(samples.columns[:3])


def test_image_without_label_is_named(layout, store):
    """An extra image is counted, shown, and takes no part."""
    store.write("extra.jpg", picture(1))

    table = read_bucket(store)
    found = {p.kind: p for p in table.problems}

    assert "extra.jpg" not in set(table.samples["file"])
    assert ["extra.jpg"] == found["unlabelled"].examples
    assert "extra.jpg" in table.images


def test_label_without_image_is_named(layout, store):
    """An image that is gone leaves its label dangling; class folders cannot have that."""
    if layout.startswith("class_folders"):
        pytest.skip("a class folder holds no labels beside its images")
    folder = {"fairface": "val/", "imagefolder": "train/", "coco": "train2017/"}.get(layout, "")
    gone = f"{folder}img 3.jpg"
    store.delete(gone)

    table = read_bucket(store)
    found = {p.kind: p for p in table.problems}

    assert gone not in set(table.samples["file"])
    assert 1 == found["missing_file"].count
    assert "img 3.jpg" in found["missing_file"].examples[0]


def test_zip_of_it_reads_like_the_folder(store, tmp_path):
    """Packed with its own name around it, as people do."""
    packed = tmp_path.parent / f"{tmp_path.name}.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for info in store.list():
            archive.writestr(f"my data/{info.key}", store.read(info.key))
    zipped = open_bucket(str(packed), Settings())
    inside, outside = read_bucket(zipped), read_bucket(store)

    assert outside.samples.equals(inside.samples)
    assert outside.layout == inside.layout
    assert {file: store.read(file) for file in outside.samples["file"]} == dict(
        zipped.read_many(inside.samples["file"])
    )


def test_other_files_are_no_images(store):
    """Notes, hidden files and macOS droppings do not count."""
    for key in ("README.md", ".DS_Store", "__MACOSX/._a.jpg", "._x.jpg"):
        store.write(key, b"x")

    assert [] == read_bucket(store).problems


def test_description_sets_the_defaults_of_a_training(layout, store):
    """visrec.toml is read, never written."""
    store.write("visrec.toml", b'[train]\nimage_size = 64\nweights = "none"\n')

    defaults = read_bucket(store).defaults

    assert 64 == defaults["image_size"]
    assert "none" == defaults["weights"]


@pytest.mark.parametrize("text", [b'[train]\ntarget = "gendr"', b"[train\n"])
def test_wrong_description_is_a_sentence(store, text):
    """A column that is not there, or a file that is not TOML."""
    store.write("visrec.toml", text)

    with pytest.raises(InputError, match=r"visrec\.toml"):
        read_bucket(store)


def test_empty_bucket_is_said(tmp_path):
    """Nothing at all."""
    with pytest.raises(NotFoundError, match="is empty"):
        read_bucket(FolderStore(tmp_path))


def test_images_alone_are_not_guessed_at(tmp_path):
    """Images without anything that labels them: the sentence lists what would."""
    store = FolderStore(tmp_path)
    store.write("a.jpg", picture(1))

    with pytest.raises(InputError, match="a folder per class"):
        read_bucket(store)


def test_layout_can_be_chosen(tmp_path):
    """A bucket with class folders and a table of something else."""
    store = FolderStore(tmp_path)
    class_folders(store)
    store.write("inventory.csv", pd.DataFrame({"file": ["cat/img 1.jpg"], "shelf": ["a"]}).to_csv().encode())

    assert "label_table" == read_bucket(store).layout
    assert 12 == len(read_bucket(store, layout="class_folders").samples)
    with pytest.raises(InputError, match="Did you mean 'class_folders'"):
        read_bucket(store, layout="class_folder")
