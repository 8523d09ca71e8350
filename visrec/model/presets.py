"""Presets: three plain choices that stand for all the settings nobody should need to know.

What the user gave wins, then what the bucket's ``visrec.toml`` says, then the preset. The result is a complete
`TrainConfig`, which the run records; nothing is decided later.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from visrec.config import TrainConfig
from visrec.data.images import FITS
from visrec.data.table import BucketTable
from visrec.errors import InputError, nearest
from visrec.model.mobilenet import ALPHAS, MAX_SIZE, MIN_SIZE, alpha_of

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"image_size": 96, "alpha": 0.35, "epochs": 60, "fine_tune_epochs": 0},
    "balanced": {"image_size": 160, "alpha": 1.0, "epochs": 100, "fine_tune_epochs": 14},
    "thorough": {"image_size": 192, "alpha": 1.0, "epochs": 150, "fine_tune_epochs": 20},
}
COMMON = {"weights": "imagenet", "allow_random": False, "sample_weights": "none", "fit": "stretch", "mirror": True}
EPOCH_FACTOR = {"quick": 0.5, "balanced": 1.0, "thorough": 2.0}
"""What a preset makes of the epochs that a bucket's own settings name."""
SAMPLE_WEIGHTS = ("none", "class", "group", "reweighing")
WHOLE, NUMBER, FLAG, NAMES = (int,), (int, float), (bool,), (str, list, tuple)
KINDS = {
    "image_size": WHOLE, "epochs": WHOLE, "fine_tune_epochs": WHOLE, "batch_size": WHOLE, "limit": WHOLE, "seed": WHOLE,
    "alpha": NUMBER, "allow_random": FLAG, "mirror": FLAG, "by": NAMES,
}  # fmt: skip
"""Setting -> types it may have; those not named here are words."""
EXPECTED = {
    WHOLE: "a whole number, without quotes", NUMBER: "a number, without quotes", FLAG: "true or false",
    NAMES: 'names, like ["race", "age"]', (str,): "a word in quotes",
}  # fmt: skip


def resolve(config: TrainConfig, table: BucketTable) -> TrainConfig:
    """A complete configuration.

    Raises
    ------
    InputError
        For an option that cannot be, naming what was expected.
    """
    if config.preset not in PRESETS:
        raise InputError(f"The preset '{config.preset}' is not known. {nearest(config.preset, PRESETS)}")
    _check_types(_known(table.defaults))
    defaults = _bucket_defaults(table.defaults, config.preset)
    preset = dict(PRESETS[config.preset])
    width = alpha_of(config.weights or defaults.get("weights"))
    if width is not None:
        preset["alpha"] = width
    chosen = {**COMMON, "batch_size": _batch_size(config, table), **preset, **defaults}
    if width is not None and config.weights:
        chosen["alpha"] = width
    given = {f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) is not None}
    target = given.get("target") or table.target
    chosen.setdefault("by", tuple(c for c in table.attributes if c not in (target, "label"))[:2])
    complete = replace(config, **{**_known(chosen), **given, "target": target})
    complete = replace(complete, by=_names(complete.by), mirror=bool(complete.mirror and complete.fine_tune_epochs))
    _check(complete, table)
    return complete


def _batch_size(config: TrainConfig, table: BucketTable) -> int:
    """64, or less where an epoch would otherwise have fewer than some twenty steps; never below 8."""
    images = min(len(table.samples), config.limit or len(table.samples))
    return min(64, max(8, images // 20))


def _bucket_defaults(defaults: Mapping[str, Any], preset: str) -> dict[str, Any]:
    values = {k: v for k, v in defaults.items() if k not in ("target", "preset", "seed")}
    factor = EPOCH_FACTOR[preset]
    for name in ("epochs", "fine_tune_epochs"):
        if isinstance(values.get(name), int):
            values[name] = round(values[name] * factor) if values[name] else 0
    return values


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(TrainConfig)}
    return {k: v for k, v in values.items() if k in names}


def _names(by: Any) -> tuple[str, ...]:
    return tuple(n.strip() for n in by.split(",") if n.strip()) if isinstance(by, str) else tuple(by or ())


def _check_types(values: Mapping[str, Any]) -> None:
    """What a bucket's ``visrec.toml`` says may be of any type; the command line and the form give none but these."""
    for name, value in values.items():
        kinds = KINDS.get(name, (str,))
        if (isinstance(value, bool) and bool not in kinds) or not isinstance(value, kinds):
            raise InputError(
                f"The bucket's visrec.toml says {name} = {value!r} under [train]; expected {EXPECTED[kinds]}."
            )


def _check(config: TrainConfig, table: BucketTable) -> None:
    if config.target is None:
        raise InputError(f"Several columns could be predicted: {', '.join(table.targets)}. Choose one with --target.")
    if config.target not in table.targets:
        raise InputError(f"The column '{config.target}' cannot be predicted. {nearest(config.target, table.targets)}")
    for name in config.by or ():
        if name not in table.attributes:
            raise InputError(f"There is no column '{name}' to watch. {nearest(name, table.attributes)}")
        if name == "label" != config.target:
            raise InputError(
                f"A run calls what it predicts, here '{config.target}', label; rename the bucket's column 'label' to "
                "watch it."
            )
    ranges = {
        "image_size": (MIN_SIZE, MAX_SIZE), "epochs": (0, 10_000), "fine_tune_epochs": (0, 1000),
        "batch_size": (2, 4096), "limit": (10, 10**9), "alpha": (0.1, 3.0), "seed": (0, 2**31 - 1),
    }  # fmt: skip
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            raise InputError(f"{name} is {value}; expected {low} to {high}.")
    if config.weights == "imagenet" and config.alpha not in ALPHAS:
        raise InputError(
            f"There are no ImageNet weights of width {config.alpha:g} (alpha); expected one of "
            f"{', '.join(map(str, ALPHAS))}, or weights 'none' or a file."
        )
    if not config.epochs and not config.fine_tune_epochs:
        raise InputError("Both epochs and fine_tune_epochs are 0: nothing would be trained. Give one of them.")
    if config.fit not in FITS:
        raise InputError(f"The fit '{config.fit}' is not known. {nearest(config.fit, FITS)}")
    if config.sample_weights not in SAMPLE_WEIGHTS:
        help = nearest(config.sample_weights, SAMPLE_WEIGHTS)
        raise InputError(f"The sample weights '{config.sample_weights}' are not known. {help}")
    if config.sample_weights in ("group", "reweighing") and not config.by:
        raise InputError(
            f"The sample weights '{config.sample_weights}' are those of watched groups, and none is watched. Name "
            f"attributes with --by (there are: {', '.join(table.attributes) or 'none'}), or choose 'class' or 'none'."
        )
