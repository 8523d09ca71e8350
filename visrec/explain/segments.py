"""Superpixels: patches of alike pixels that an explanation switches on and off as wholes.

Numbered 0 ... n-1 without gaps, because LIME's column i is superpixel i. (scikit-image's ``slic`` starts at 1
unless told otherwise, and stock LIME then never explains the last superpixel.)
"""

from collections.abc import Callable

import numpy as np

from visrec.errors import InputError, nearest

Segmenter = str | np.ndarray | Callable[[np.ndarray], np.ndarray]

METHODS = {
    "slic": "compact patches of about equal size; the default",
    "quickshift": "patches that follow colour and position freely; slower",
    "felzenszwalb": "patches that follow edges; their sizes differ most",
}


def segment(image: np.ndarray, segmenter: Segmenter = "slic") -> np.ndarray:
    """Cut an image into superpixels.

    Parameters
    ----------
    image : uint8 (h, w, 3)
    segmenter : a name of `METHODS`, a function of the image, or a finished label map
        Settings of the named methods follow the image's size, so that a 96 and a 224 pixel version of one
        photograph are cut alike.

    Returns
    -------
    int32 (h, w)
        Labels 0 ... n-1, each used at least once.

    Raises
    ------
    InputError
        For an unknown name or a label map that does not fit the image.

    References
    ----------
    Achanta et al. (2012) SLIC; Vedaldi and Soatto (2008) quick shift; Felzenszwalb and Huttenlocher (2004).

    Examples
    --------
    >>> segment(np.zeros((2, 2, 3), np.uint8), np.array([[5, 5], [9, 9]])).tolist()
    [[0, 0], [1, 1]]
    """
    if isinstance(segmenter, str):
        labels = _named(image, segmenter)
    else:
        labels = np.asarray(segmenter(image) if callable(segmenter) else segmenter)
    if labels.shape != image.shape[:2]:
        raise InputError(
            f"The superpixel map has shape {labels.shape}, expected one label per pixel {image.shape[:2]}; "
            "segment the very image that is explained."
        )
    _, numbered = np.unique(labels, return_inverse=True)
    return numbered.reshape(labels.shape).astype(np.int32)


def _named(image: np.ndarray, name: str) -> np.ndarray:
    if name not in METHODS:
        raise InputError(f"There is no segmenter '{name}'. {nearest(name, METHODS)}")
    from skimage.segmentation import felzenszwalb, quickshift, slic

    side = float(np.sqrt(image.shape[0] * image.shape[1]))
    if name == "slic":
        # below about 6 x 6 pixels a patch says nothing a convolution could see
        patches = int(np.clip((side / 6) ** 2, 4, 90))
        return slic(image, n_segments=patches, compactness=10, start_label=0)
    if name == "quickshift":
        return quickshift(image, kernel_size=max(1.0, 4 * side / 224), max_dist=200, ratio=0.2)
    return felzenszwalb(image, scale=100, sigma=0.5, min_size=max(4, int((side / 224) ** 2 * 200)))
