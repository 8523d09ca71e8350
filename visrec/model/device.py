"""The device: what a training or an explanation runs on, made ready once per process.

Dashboard and training share one GPU, so every process lets its memory grow instead of taking all of it; XLA is never
switched on for a CPU, where it is ten times slower on this network. Which number format and how many GPUs a training
takes is decided by `choose_compute`, from what the cards can do and never from a timing, and carried out by `placed`.
"""

import contextlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"


@dataclass(frozen=True)
class Compute:
    """How a network is trained: Keras' dtype policy, and the devices that share each batch (none = the default one)."""

    policy: str = FLOAT32
    devices: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it is one device at float32, as on every CPU."""
        return self.policy == FLOAT32 and len(self.devices) < 2


def choose_compute(
    capabilities: Sequence[tuple[int, int]], *, backend: str = "tensorflow", policy: str | None = None
) -> Compute:
    """The rule: all GPUs of the node together, in bfloat16 where the weakest of them is fast at it, else in float32.

    Never float16: with its loss scaling a training on two devices ended in NaN after two epochs when it was tried.

    Parameters
    ----------
    capabilities : CUDA compute capability of each GPU; bfloat16 comes with 8.0
    backend : Keras' backend; several GPUs need TensorFlow's ``MirroredStrategy``
    policy : the format a resumed run began with, which it keeps

    Examples
    --------
    >>> choose_compute([])
    Compute(policy='float32', devices=())
    >>> choose_compute([(9, 0), (9, 0)])
    Compute(policy='mixed_bfloat16', devices=('GPU:0', 'GPU:1'))
    >>> choose_compute([(7, 5)])
    Compute(policy='float32', devices=('GPU:0',))
    """
    if not capabilities:
        return Compute(policy or FLOAT32)
    count = len(capabilities) if backend == "tensorflow" else 1
    fast = BFLOAT16 if min(capabilities) >= (8, 0) else FLOAT32
    return Compute(policy or fast, tuple(f"GPU:{i}" for i in range(count)))


def compute(policy: str | None = None) -> Compute:
    """What `choose_compute` says for this machine; ``policy`` is that of a run to go on with."""
    from visrec.model.engine import gpus

    if not gpus():
        return choose_compute([], policy=policy)
    import keras
    import tensorflow as tf

    cards = tf.config.list_physical_devices("GPU")
    able = [tf.config.experimental.get_device_details(c).get("compute_capability", (0, 0)) for c in cards]
    return choose_compute([tuple(a) for a in able], backend=keras.backend.backend(), policy=policy)


@contextlib.contextmanager
def placed(chosen: Compute) -> Iterator[None]:
    """Models built, compiled and trained inside use this number format and share each batch among the devices."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(chosen.policy)
    try:
        if len(chosen.devices) < 2:
            yield
            return
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(list(chosen.devices)).scope():
            yield
    finally:
        keras.config.set_dtype_policy(before)


def make_ready(*, cpu_only: bool = False) -> str:
    """Prepare TensorFlow's GPUs, if there are any, and say what the process runs on.

    Parameters
    ----------
    cpu_only : leave the GPU to the training that has it now
    """
    from visrec.model.engine import gpus

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # by itself only where it sees AVX512-VNNI (ADR 0063)
    if not gpus():
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # else TensorFlow looks for one, and complains
        import_quietly()
        return f"CPU ({cores()} cores, {platform.machine()})"
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    try:
        if cpu_only:
            tf.config.set_visible_devices([], "GPU")
            return f"CPU ({cores()} cores), the GPU is busy"
        for device in devices:
            tf.config.experimental.set_memory_growth(device, True)
    except RuntimeError:  # already in use by this process: it was made ready before
        pass
    names = [tf.config.experimental.get_device_details(d).get("device_name", "GPU") for d in devices]
    return ", ".join(names)


def memory_in_use() -> int | None:
    """Bytes that this process has on its GPUs; None without one, or before TensorFlow is loaded."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not hasattr(tensorflow, "config"):
        return None
    try:
        cards = tensorflow.config.get_visible_devices("GPU")
        info = tensorflow.config.experimental.get_memory_info
        return sum(info(f"GPU:{i}")["current"] for i in range(len(cards))) if cards else None
    except (RuntimeError, ValueError, AttributeError):  # still loading in another thread, or a device without counters
        return None


def import_quietly() -> None:
    """Import Keras; what TensorFlow says to standard error while loading is shown only if loading fails.

    It writes from C++, before its own log level is read, so the file descriptor itself is turned aside.
    """
    if "keras" in sys.modules:
        return
    with tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            import keras  # noqa: F401
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
