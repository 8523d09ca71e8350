"""What the tests of the Explain page share: an image, sending it, and all that the page says."""

import io

import numpy as np
from PIL import Image


def photo(size: tuple[int, int] = (90, 70)) -> bytes:
    """A PNG of seeded noise on a gradient."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, size[0])[None, :, None] + rng.integers(0, 55, (size[1], size[0], 3))
    out = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def send(app, name: str, data: bytes, kind: str = "image/png"):
    """Upload a file."""
    app.file_uploader(key="explain_upload").set_value((name, data, kind))
    return app.run()


def texts(app) -> str:
    """All that the page says in captions, paragraphs and warnings."""
    return "\n".join(e.value for kind in ("caption", "markdown", "warning") for e in getattr(app, kind))
