"""An explanation as a document: plain values, the same from the command line, a page's download and the service."""

from typing import Any

from visrec.explain.badge import Badge
from visrec.explain.lime_image import Explanation
from visrec.explain.sanity import Sanity, with_sanity


def to_document(
    found: Explanation, labels: list[str], badge: Badge | None = None, sanity: Sanity | None = None
) -> dict[str, Any]:
    """Everything that is needed to draw an explanation, or to check it with stock LIME.

    Parameters
    ----------
    found : of `visrec.explain.lime_image.explain_image`
    labels : class names, in the order of the model's outputs
    badge : of `visrec.explain.badge.judge`, if it was asked for
    sanity : of `visrec.explain.sanity.check_sanity`, if it was asked for; when it failed, so does the badge

    Returns
    -------
    dict
        ``segments`` is the superpixel of each pixel (h rows of w); ``weights[i]`` belongs to the pixels where it is
        ``i``, for ``class``; ``seconds`` is LIME alone, without the badge. NaN means unknown.
    """
    return {
        "prediction": labels[int(found.prediction.argmax())],
        "scores": dict(zip(labels, found.prediction.tolist(), strict=True)),
        "class": labels[found.label],
        "segments": found.segments.tolist(),
        "n_segments": found.n_segments,
        "weights": found.weights[found.label].tolist(),
        "weights_by_class": dict(zip(labels, found.weights.tolist(), strict=True)),
        "intercept": dict(zip(labels, found.intercept.tolist(), strict=True)),
        "local_prediction": dict(zip(labels, found.local_prediction.tolist(), strict=True)),
        "r2": dict(zip(labels, found.r2.tolist(), strict=True)),
        "badge": None if badge is None else with_sanity(badge, sanity).to_json(),
        "sanity": None if sanity is None else sanity.to_json(),
        "samples": found.samples,
        "seed": found.seed,
        "segmenter": found.segmenter,
        "fill": found.fill,
        "seconds": sum(found.seconds.values()),
        "seconds_by_step": dict(found.seconds),
        "badge_seconds": None if badge is None else badge.seconds,
    }
