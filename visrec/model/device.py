"""The device: what a training or an explanation runs on, made ready once per process.

Dashboard and training share one GPU, so every process lets its memory grow instead of taking all of it; XLA is never
switched on for a CPU, where it is ten times slower on this network.
"""

import os
import platform
import sys
import tempfile


def make_ready(*, cpu_only: bool = False) -> str:
    """Prepare TensorFlow's GPUs, if there are any, and say what the process runs on.

    Parameters
    ----------
    cpu_only : leave the GPU to the training that has it now
    """
    from visrec.model.engine import gpus

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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
