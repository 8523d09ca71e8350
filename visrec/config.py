"""Settings: everything that the surroundings decide, read once and frozen.

This is the only module that reads environment variables or a ``.env`` file. Secrets are kept out of
every ``repr``, so that a settings object can be logged.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from visrec.errors import InputError

TRUE = {"1", "true", "yes", "on"}


@dataclass(frozen=True)
class S3Settings:
    """How to reach S3-compatible storage; empty strings are never kept, they mean "not given"."""

    bucket: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    endpoint_url: str | None = None
    region: str | None = None
    ca_bundle: str | None = None
    addressing_style: str | None = None

    @property
    def configured(self) -> bool:
        """Whether anything at all points to an S3 store."""
        return any([self.bucket, self.access_key_id, self.endpoint_url])


@dataclass(frozen=True)
class Settings:
    """Where buckets, runs and caches lie, and how remote storage is reached.

    Attributes
    ----------
    buckets : folders whose sub-folders are buckets
    runs : folder or ``s3://bucket/prefix`` that holds run folders only
    cache : folder for prepared data sets and decisions
    s3 : credentials and endpoint of remote storage
    keras_home : folder with Keras' downloaded weights, or None for Keras' own default
    queue : folder with the tickets of those that want this machine's device; None = ``queue`` in the cache
    slots : trainings that may have the device at once
    """

    buckets: tuple[Path, ...] = (Path("buckets"),)
    runs: str = "runs"
    cache: Path = Path("cache")
    s3: S3Settings = S3Settings()
    keras_home: Path | None = None
    queue: Path | None = None
    slots: int = 1

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
            s3=S3Settings(
                bucket=get("BUCKET"),
                access_key_id=get("ACCESS_KEY_ID"),
                secret_access_key=get("SECRET_ACCESS_KEY"),
                endpoint_url=_checked_endpoint(get("ENDPOINT_URL")),
                region=get("REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
                ca_bundle=get("AWS_CA_BUNDLE", "SSL_CERT_FILE"),
                addressing_style=_checked_style(get("S3_ADDRESSING_STYLE")),
            ),
        )


def _device_queue(visible: str | None) -> str:
    """Where everybody of this user queues for one device of this machine, whatever their cache is."""
    cards = any(Path("/dev").glob("nvidia[0-9]*"))
    device = f"gpu-{visible or 'all'}" if cards and visible != "-1" else "cpu"
    place = Path("/tmp") if os.path.isdir("/tmp") else Path(tempfile.gettempdir())
    return str(place / f"visrec-{os.getuid()}" / device.replace("/", "_"))


def _checked_slots(text: str | None) -> int:
    if text is None:
        return 1
    if text.isdigit() and 1 <= int(text) <= 64:
        return int(text)
    raise InputError(f"VISREC_SLOTS is '{text}'; expected how many trainings may run at once, 1 to 64.")


def _checked_endpoint(url: str | None) -> str | None:
    if url is None or url.startswith(("http://", "https://")):
        return url
    raise InputError(f"ENDPOINT_URL is '{url}'; expected a URL that starts with https:// or http://.")


def _checked_style(style: str | None) -> str | None:
    if style in (None, "path", "virtual", "auto"):
        return style
    raise InputError(f"S3_ADDRESSING_STYLE is '{style}'; expected path, virtual or auto.")


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
