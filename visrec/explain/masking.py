"""Masking: the image with some of its superpixels replaced by a fill that carries no information.

Batches are composed straight from (image, fill, superpixels, switches) with integer bit operations, which keep
every float exactly as it is, into one buffer that is used again; nothing is copied per sample.
"""

import numpy as np

from visrec.errors import InputError, nearest

FILLS = {
    "mean": "each superpixel by its own mean colour; LIME's default",
    "blur": "a heavily blurred copy: colour and light stay, detail goes",
    "grey": "the same mid grey everywhere",
}


def fill_image(image: np.ndarray, segments: np.ndarray, fill: str = "mean") -> np.ndarray:
    """What a switched-off superpixel is replaced by.

    Parameters
    ----------
    image : uint8 (h, w, 3)
    segments : int (h, w), labels 0 ... n-1
    fill : a name of `FILLS`

    Returns
    -------
    float64 (h, w, 3) in [0, 255]
        Not rounded: rounding the mean colours moves LIME's weights by a few per cent.

    Examples
    --------
    >>> image = np.zeros((1, 2, 3), np.uint8); image[0, 1] = 5
    >>> fill_image(image, np.array([[0, 0]]))[0, :, 0].tolist()
    [2.5, 2.5]
    """
    if fill == "mean":
        flat, pixels = segments.ravel(), image.reshape(-1, 3).astype(np.float64)
        counts = np.bincount(flat)
        means = np.stack([np.bincount(flat, pixels[:, c]) for c in range(3)], axis=1) / counts[:, None]
        return means[segments]
    if fill == "blur":
        from scipy.ndimage import gaussian_filter

        sigma = max(image.shape[:2]) / 12
        return gaussian_filter(image.astype(np.float64), sigma=(sigma, sigma, 0), mode="nearest")
    if fill == "grey":
        return np.full(image.shape, 127.5)
    raise InputError(f"There is no fill '{fill}'. {nearest(fill, FILLS)}")


class Masker:
    """Composes batches of masked copies of one image.

    Parameters
    ----------
    image : (h, w, 3), values 0 ... 255
    fill : (h, w, 3), values 0 ... 255
    segments : int (h, w), labels 0 ... n-1
    dtype : float32 (what models take) or float64 (for comparisons to the last digit)

    Notes
    -----
    The array that `compose` returns is overwritten by the next call.

    Examples
    --------
    >>> image, fill = np.full((1, 2, 3), 9.0), np.full((1, 2, 3), 1.0)
    >>> masker = Masker(image, fill, np.array([[0, 1]]))
    >>> masker.compose(np.array([[1, 0]]))[0, 0, :, 0].tolist()
    [9.0, 1.0]
    """

    def __init__(self, image: np.ndarray, fill: np.ndarray, segments: np.ndarray, dtype=np.float32):
        self.shape = image.shape
        self.dtype = np.dtype(dtype)
        self._bits = np.int32 if self.dtype.itemsize == 4 else np.int64
        self._fill = np.ascontiguousarray(fill, self.dtype).ravel().view(self._bits)
        self._change = np.ascontiguousarray(image, self.dtype).ravel().view(self._bits) ^ self._fill
        self._owner = np.repeat(segments.ravel(), image.shape[2]).astype(np.intp)
        self._buffer = np.empty((0, self._fill.size), self._bits)

    def compose(self, switches: np.ndarray) -> np.ndarray:
        """Masked copies, one per row of switches.

        Parameters
        ----------
        switches : {0, 1} (b, n_segments); 1 keeps the superpixel

        Returns
        -------
        dtype (b, h, w, 3), a view of the buffer
        """
        rows = len(switches)
        if rows > len(self._buffer):
            self._buffer = np.empty((rows, self._fill.size), self._bits)
        out = self._buffer[:rows]
        keep = np.negative(np.asarray(switches, self._bits))  # 1 becomes all bits set
        np.take(keep, self._owner, axis=1, out=out, mode="clip")
        np.bitwise_and(out, self._change, out=out)
        np.bitwise_xor(out, self._fill, out=out)
        return out.view(self.dtype).reshape(rows, *self.shape)
