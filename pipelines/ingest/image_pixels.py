"""The pixels of one image, of a file that nobody trusts: its cost is known from its header before it is decoded."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

from PIL import Image, ImageOps

from pipelines.ingest.text_types import Unfit
from pipelines.settings.source import ImageForm

_FORMATS = ("PNG", "JPEG")
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
# What Pillow raises for damaged files; it has no exception of its own for them.
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, struct.error, zlib.error, OverflowError)


def pixels(content: bytes, form: ImageForm) -> bytes:
    """`size * size * channels` bytes of a PNG or JPEG file, row by row from the top, the channels of a pixel together.

    The picture is turned as its EXIF data say and resized with its sides in their ratio; what is left of the square is
    black. Transparency is dropped.

    Raises:
        Unfit: IMAGE_SIZE beyond `max_bytes` or `max_pixels`, IMAGE_FORMAT for another format or more than 8 bits per
            channel, IMAGE_DAMAGED when it cannot be decoded to its end.
    """
    if len(content) > form.max_bytes:
        raise Unfit("IMAGE_SIZE", f"may have at most {form.max_bytes:,} bytes, got {len(content):,}")
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata, which is nothing to us, and of many pixels, where our limit is lower.
            warnings.simplefilter("ignore")
            return _decoded(content, form)
    except Image.UnidentifiedImageError as error:
        raise Unfit("IMAGE_FORMAT", f"must be a PNG or JPEG file, got {_start(content)}") from error
    except Image.DecompressionBombError as error:
        raise _too_many(form, "even more") from error
    except Unfit:
        raise
    except _DAMAGED as error:
        raise Unfit("IMAGE_DAMAGED", f"cannot be decoded ({str(error)[:100] or type(error).__name__})") from error


def _decoded(content: bytes, form: ImageForm) -> bytes:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
        width, height = picture.size
        if width * height > form.max_pixels:
            raise _too_many(form, f"{width:,} x {height:,}")
        if picture.mode not in _MODES:
            raise Unfit("IMAGE_FORMAT", f"must have 8 bits per channel, got Pillow's mode '{picture.mode}'")
        picture.load()
        upright = ImageOps.exif_transpose(picture).convert("L" if form.color == "gray" else "RGB")
    return ImageOps.pad(upright, (form.size, form.size), Image.Resampling.BILINEAR, color=0).tobytes()


def _too_many(form: ImageForm, found: str) -> Unfit:
    return Unfit("IMAGE_SIZE", f"may have at most {form.max_pixels:,} pixels, its header says {found}")


def _start(content: bytes) -> str:
    return f"{len(content):,} bytes that start with {content[:4].hex() or 'nothing'}"
