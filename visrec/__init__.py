"""visrec: train an image classifier from a bucket, and see for whom it fails, how sure that is, and why.

Importing this package loads neither TensorFlow nor AIF360 nor Streamlit; each is imported where it is used.
"""

__version__ = "0.1.0"
