"""Batch normalisation in one kernel: what TensorFlow has for it on a CPU, in place of Keras' dozen small ones.

Keras 3 normalises by separate means, squares, differences and products, each of which reads and writes a whole feature
map; on a CPU that is half of a training step of MobileNetV2. The layers stay Keras' own: only while a network trains
do they call the one kernel, so what is saved knows nothing of it.
"""

import contextlib
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING

from visrec.model import engine, mobilenet

if TYPE_CHECKING:
    import keras


@contextlib.contextmanager
def fused(model: "keras.Model") -> Iterator[None]:
    """Inside, the model's BatchNormalization layers give the same values from one kernel, up to rounding.

    Only with Keras on TensorFlow, on one device without a GPU and in float32; elsewhere nothing is changed. A model
    must be compiled anew, or for the first time, inside.
    """
    changed = mobilenet.batch_norms(model) if suits(model) else []
    for layer in changed:
        layer.call = types.MethodType(_call, layer)
    try:
        yield
    finally:
        for layer in changed:
            del layer.call


def suits(model: "keras.Model") -> bool:
    """Whether a network trains with TensorFlow on a CPU alone, in float32."""
    if engine.backend() != "tensorflow" or engine.gpus() or model.compute_dtype != "float32":
        return False
    return model.distribute_strategy.num_replicas_in_sync == 1


def _call(self, inputs, training=None, mask=None):
    """As `keras.layers.BatchNormalization.call` for maps (n, h, w, c) with scale and offset.

    TensorFlow divides the sum of squares by n - 1 for the moving variance, Keras by n; so does this.
    """
    import tensorflow as tf

    learns = bool(training) and self.trainable
    empty = tf.zeros([0])
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.convert_to_tensor(self.gamma),
        offset=tf.convert_to_tensor(self.beta),
        mean=empty if learns else tf.convert_to_tensor(self.moving_mean),
        variance=empty if learns else tf.convert_to_tensor(self.moving_variance),
        epsilon=self.epsilon,
        is_training=learns,
    )
    if learns:
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), variance.dtype)
        seen = (self.moving_mean, mean), (self.moving_variance, variance * (count - 1) / count)
        for moving, value in seen:
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
    return outputs
