"""Settings: everything that the surroundings decide, read once and frozen.

This is the only module that reads environment variables or a ``.env`` file. Secrets are kept out of
every ``repr``, so that a settings object can be logged.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from visrec.connections import S3Settings, checked_endpoint, checked_style, from_environment, from_tables
from visrec.errors import InputError, NotFoundError, nearest

TRUE = {"1", "true", "yes", "on"}


@dataclass(frozen=True)
class Settings:
    """Where buckets, runs and caches lie, and how remote storage is reached.

    Attributes
    ----------
    buckets : folders whose sub-folders are buckets
    runs : folder or ``s3://bucket/prefix`` that holds run folders only
    cache : folder for prepared data sets and decisions
    s3 : credentials and endpoint of remote storage, as the plain variables (BUCKET, ENDPOINT_URL, ...) say
    connections : further ways to remote storage, each with a name
    keras_home : folder with Keras' downloaded weights, or None for Keras' own default
    queue : folder with the tickets of those that want this machine's device; None = ``queue`` in the cache
    slots : trainings that may have the device at once
    """

    buckets: tuple[Path, ...] = (Path("buckets"),)
    runs: str = "runs"
    cache: Path = Path("cache")
    s3: S3Settings = field(default_factory=S3Settings)
    keras_home: Path | None = None
    queue: Path | None = None
    slots: int = 1
    connections: tuple[S3Settings, ...] = ()

    @property
    def stores(self) -> tuple[S3Settings, ...]:
        """Every way to remote storage that is configured, the plain one first."""
        return (*([self.s3] if self.s3.configured else []), *self.connections)

    def store_named(self, name: str) -> S3Settings:
        """The connection of that name; "" is the plain one."""
        for s3 in (self.s3, *self.connections):
            if s3.name == name:
                return s3
        raise NotFoundError(
            f"There is no connection '{name}'. {nearest(name, [s3.name for s3 in self.connections])} Connections are "
            "VISREC_COS_<NAME>_ENDPOINT_URL and the like in the environment, or [cos.NAME] in the dashboard's secrets."
        )

    def with_connections(self, tables: Mapping[str, Mapping[str, str]]) -> "Settings":
        """These settings and the connections of some tables, which win over the environment's of the same name."""
        known = {s3.name: s3 for s3 in (*self.connections, *from_tables(tables))}
        return replace(self, connections=tuple(known[name] for name in sorted(known)))

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> "Settings":
        """Read the environment; a ``.env`` file fills in what the environment does not say."""
        values = {**_read_dotenv(dotenv), **(os.environ if environ is None else environ)}

        def get(*names: str) -> str | None:
            return next((values[n] for n in names if values.get(n)), None)

        folders = get("VISREC_BUCKETS") or "buckets"
        home = get("KERAS_HOME")
        return cls(
            buckets=tuple(Path(f) for f in folders.split(os.pathsep) if f),
            runs=(get("VISREC_RUNS") or "runs").rstrip("/"),
            cache=Path(get("VISREC_CACHE") or "cache"),
            keras_home=Path(home) if home else None,
            queue=Path(get("VISREC_QUEUE") or _device_queue(get("CUDA_VISIBLE_DEVICES"))),
            slots=_checked_slots(get("VISREC_SLOTS")),
            connections=from_environment(values),
            s3=S3Settings(
                bucket=get("BUCKET"),
                access_key_id=get("ACCESS_KEY_ID"),
                secret_access_key=get("SECRET_ACCESS_KEY"),
                endpoint_url=checked_endpoint(get("ENDPOINT_URL")),
                region=get("REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
                ca_bundle=get("AWS_CA_BUNDLE", "SSL_CERT_FILE"),
                addressing_style=checked_style(get("S3_ADDRESSING_STYLE")),
            ),
        )


def _device_queue(visible: str | None) -> str:
    """Where everybody of this user queues for one device of this machine, whatever their cache is."""
    device = f"gpu-{visible or 'all'}" if has_nvidia() and visible != "-1" else "cpu"
    place = Path("/tmp") if os.path.isdir("/tmp") else Path(tempfile.gettempdir())
    return str(place / f"visrec-{os.getuid()}" / device.replace("/", "_"))


@cache
def has_nvidia() -> bool:
    """Whether this machine has an NVIDIA device; looked at once, without loading anything."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def _checked_slots(text: str | None) -> int:
    if text is None:
        return 1
    if text.isdigit() and 1 <= int(text) <= 64:
        return int(text)
    raise InputError(f"VISREC_SLOTS is '{text}'; expected how many trainings may run at once, 1 to 64.")


def _read_dotenv(path: Path | None) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    from dotenv import dotenv_values

    return {k: v for k, v in dotenv_values(path).items() if v is not None}


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one training run, as the user chose them; every field is recorded in the run.

    ``None`` means "decide for me": the bucket's own ``visrec.toml`` first, then the preset
    (`visrec.model.presets`). Resolving makes a new, complete value; this one is never changed.

    Attributes
    ----------
    bucket : name, path or ``s3://`` URL
    target : column to predict; None = the bucket's own default
    by : attributes whose cells are watched during training
    image_size : side in pixels the images are resized to
    alpha : width of MobileNetV2
    weights : ``imagenet``, ``none`` or the path of a weights file
    allow_random : go on from random weights when ImageNet weights cannot be had
    epochs, fine_tune_epochs : passes of stage 1 (head) and stage 2 (backbone)
    batch_size : images per step in stage 2
    limit : seeded sample of that many training images, group proportions kept
    seed : of the split, the sample, the initial weights and the batch order
    preset : ``quick``, ``balanced`` or ``thorough``
    sample_weights : ``none``, ``class``, ``group`` or ``reweighing``
    fit : how a rectangle becomes a square: ``stretch``, ``crop`` (its middle) or ``pad`` (with white); a finished model
        sees every image that way
    mirror : fine-tuning learns from mirror images as well, and the finished model answers from an image and its mirror
        image, in twice the time; False where sides matter, as for arrows and text
    """

    bucket: str
    target: str | None = None
    by: tuple[str, ...] | None = None
    image_size: int | None = None
    alpha: float | None = None
    weights: str | None = None
    allow_random: bool | None = None
    epochs: int | None = None
    fine_tune_epochs: int | None = None
    batch_size: int | None = None
    limit: int | None = None
    seed: int = 0
    preset: str = "balanced"
    sample_weights: str | None = None
    fit: str | None = None
    mirror: bool | None = None
