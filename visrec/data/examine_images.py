"""What may be wrong with the images themselves: damage, odd formats, odd sizes, copies and near-copies."""

import pandas as pd

from visrec.data.alike import groups, near_pairs, same_bytes
from visrec.data.decisions import CHOICES
from visrec.data.problems import Problem, problem
from visrec.data.scan import SUFFIXES
from visrec.data.table import BucketTable

TINY = 32  # pixels on the shorter side
EXTREME = 3.0  # longer side over shorter side

DAMAGE = {
    "zero_byte": "These files are empty. Upload them again.",
    "non_image": "These files end like images and are none. Remove or replace them.",
    "truncated": "These images are cut off or damaged. Upload them again.",
    "unreadable": "These images cannot be read. Save them anew as JPEG or PNG.",
    "decompression_bomb": "These images are too large to be decoded safely (over 50 megapixels). Make them smaller.",
    "missing_file": "The store lists these images and does not have them. Upload them again, and inspect again.",
    "not_unpacked": "These images cannot be unpacked: encrypted, packed in a way Python does not know, or too large to "
    "be safe. Unpack the archive by other means and upload the images themselves.",
    "unread": "The store failed to give these images. Check the connection and inspect again.",
}


def image_problems(table: BucketTable, facts: pd.DataFrame, target: str | None) -> list[Problem]:
    """Problems of the images of a bucket; ``facts`` as from `visrec.data.scan.scan`."""
    return [*_damage(facts), *_formats(facts), *_sizes(facts), *copies(table, facts, target)]


def _damage(facts: pd.DataFrame) -> list[Problem]:
    found = []
    for kind, advice in DAMAGE.items():
        keys = facts.index[facts["status"] == kind]
        if len(keys):
            found.append(problem(kind, "error", keys, f"{advice} They are set aside."))
    return found


def _formats(facts: pd.DataFrame) -> list[Problem]:
    good = facts[facts["status"] == "ok"]
    plain, alpha = good["mode"].str.split("+").str[0], good["mode"].str.contains("transparency")
    tests = {
        "animated": (good["frames"] > 1, "Only the first frame of these is used."),
        "cmyk": (plain == "CMYK", "These are made for print (CMYK); their colours are converted and may shift."),
        "sixteen_bit": (plain.str.startswith(("I", "F")), "These have more than 8 bits a pixel; they are scaled to 8."),
        "palette": ((plain == "P") & ~alpha, "These have a palette of colours; they are converted to RGB."),
        "transparency": (plain.isin(["RGBA", "LA", "PA"]) | alpha, "These are transparent; they are laid on white."),
        "exif_rotated": (good["orientation"] > 1, "These were taken with the camera turned; they are set upright."),
        "wrong_extension": (
            _misnamed(good),
            "These have another format than their name says; they are read anyway.",
        ),
    }
    found = [problem(kind, "info", good.index[mask], advice) for kind, (mask, advice) in tests.items() if mask.any()]
    grey = plain.isin(["L", "1", "LA"])
    if grey.any() and not grey.all():
        advice = "These are grey among coloured ones; a class that is mostly grey would be known by that."
        found.append(problem("greyscale", "info", good.index[grey], advice))
    return found


def _misnamed(good: pd.DataFrame) -> pd.Series:
    expected = good["format"].map(lambda name: SUFFIXES.get(name))
    return pd.Series(
        [bool(ends) and not key.lower().endswith(ends) for key, ends in zip(good.index, expected, strict=True)],
        index=good.index,
        dtype=bool,
    )


def _sizes(facts: pd.DataFrame) -> list[Problem]:
    good = facts[(facts["width"] > 0) & (facts["status"] == "ok")]
    short, long = good[["width", "height"]].min(axis=1), good[["width", "height"]].max(axis=1)
    found = []
    tiny = good[short < TINY]
    if len(tiny):
        advice = f"These are smaller than {TINY} pixels on a side; little can be seen on them."
        found.append(problem("tiny", "warning", _with_size(tiny), advice))
    extreme = good[(long > EXTREME * short) & (short >= TINY)]
    if len(extreme):
        advice = (
            f"These are more than {EXTREME:.0f} times as long as wide; made square, they are bent. Crop them, or train "
            "with --fit pad or crop."
        )
        found.append(problem("extreme_aspect", "warning", _with_size(extreme), advice))
    return found


def copies(table: BucketTable, facts: pd.DataFrame, target: str | None) -> list[Problem]:
    """Byte-identical images, within and across splits and with different labels; near-copies across splits."""
    samples = table.samples.set_index("file")
    exact = same_bytes(facts)
    found = []
    if exact:
        found += _exact(samples, facts, exact, target)
    near = near_pairs(facts)
    across = [pair for pair in near if _split(samples, pair[0]) != _split(samples, pair[1])]
    apart = set(across)
    within = [pair for pair in near if pair not in apart]
    if across:
        advice = "Nearly the same picture is in two splits, so a model is judged on what it was shown. Move one."
        found.append(problem("near_duplicate_across_splits", "warning", map(_pair, across), advice))
    if within:
        advice = "Nearly the same picture; where visrec makes the split, such pictures stay together."
        found.append(problem("near_duplicate", "info", map(_pair, within), advice, CHOICES["near_duplicate"]))
    return found


def _exact(samples: pd.DataFrame, facts: pd.DataFrame, pairs: list, target: str | None) -> list[Problem]:
    keys = sorted({key for pair in pairs for key in pair})
    members = groups(keys, pairs)
    found, across, conflicts, within = [], [], [], []
    for _, group in members.groupby(members):
        files = list(group.index)
        shown = " = ".join(files)
        labels = {samples.at[f, target] for f in files if target and f in samples.index} - {None}
        splits = {_split(samples, f) for f in files if f in samples.index}
        if len({label for label in labels if label == label}) > 1:
            conflicts.append(f"{shown} ({', '.join(sorted(map(str, labels)))})")
        (across if len(splits) > 1 else within).append(shown)
    if within:
        advice = "The same bytes more than once; copies count double. Decide: keep, or drop_extra."
        found.append(problem("duplicate", "warning", within, advice, CHOICES["duplicate"]))
    if across:
        advice = "The same bytes in two splits: a model is judged on what it was shown. The copy in train is left out."
        choices = CHOICES["duplicate_across_splits"]
        found.append(problem("duplicate_across_splits", "warning", across, advice, choices))
    if conflicts:
        advice = f"The same bytes with different values of {target}; at least one is wrong. Decide: keep, or drop."
        found.append(problem("conflicting_labels", "error", conflicts, advice, CHOICES["conflicting_labels"]))
    return found


def _split(samples: pd.DataFrame, key: str) -> str:
    return samples.at[key, "split"] if key in samples.index else ""


def _pair(pair: tuple[str, str]) -> str:
    return f"{pair[0]} ~ {pair[1]}"


def _with_size(facts: pd.DataFrame) -> list[str]:
    return [f"{key} ({w} x {h})" for key, w, h in zip(facts.index, facts["width"], facts["height"], strict=True)]
