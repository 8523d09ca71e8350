"""The model: MobileNetV2 with a head for the classes of a bucket, written in Keras 3.

`mobilenet` builds it and finds its weights, `features` runs the frozen backbone once, `head` fits the last layer
on what came out, `fine_tune` trains all of it, `engine` and `predict` run it, `export` writes it for elsewhere, and
`train` is the whole story in order. TensorFlow, Keras and OpenVINO are imported inside functions.
"""
