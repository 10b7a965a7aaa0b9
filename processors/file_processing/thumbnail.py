"""One image made to fit a box. Blocks; knows nothing of jobs."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from engine import FileOptions, errors
from processors.storage import replacing

try:
    from PIL import Image, ImageOps
except ImportError:
    raise errors.MissingExtra("making thumbnails", "files") from None

# Only these are opened: Pillow can also read formats that start other programs (EPS) or have had many holes.
_READ = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}


class BadImage(Exception):
    """The file is not an image that can be read; no other attempt would help."""


class Thumbnail(Struct, frozen=True):
    """What was made."""

    path: Path
    width: int
    height: int


def make_thumbnail(source: Path, folder: Path, stem: str, options: FileOptions, *, max_pixels: int) -> Thumbnail:
    """Write `source`, fitted into the options' box and never enlarged, to `folder` as `stem` with an extension.

    Turned upright as its EXIF says, without any metadata. Raises BadImage.
    """
    image, source_format = _load(source, options, max_pixels)
    format = options.format.upper() if options.format else source_format
    if format not in _EXTENSIONS:
        format = "PNG"
    clean = _plain(image, format)
    target = folder / f"{stem}.{_EXTENSIONS[format]}"
    with replacing(target) as part:
        clean.save(part, format=format, **({} if format == "PNG" else {"quality": options.quality}))
    return Thumbnail(target, clean.width, clean.height)


def _load(source: Path, options: FileOptions, max_pixels: int) -> tuple[Image.Image, str]:
    try:
        with Image.open(source, formats=_READ) as image:
            if image.width * image.height > max_pixels:
                raise BadImage(f"{image.width} x {image.height} pixels are more than the {max_pixels:,} allowed")
            source_format = image.format or ""
            longest = max(options.width, options.height)
            # JPEG can be decoded at a fraction of its size; twice the box leaves enough to sample from.
            image.draft(None, (2 * longest, 2 * longest))
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((options.width, options.height), Image.Resampling.LANCZOS)
            return upright, source_format
    except BadImage:
        raise
    except Exception as error:  # a broken or hostile file makes decoders fail in any way they like
        raise BadImage(f"not an image that can be read: {error}") from None


def _plain(image: Image.Image, format: str) -> Image.Image:
    """The pixels alone: no EXIF, text, comment or profile goes along."""
    has_alpha = image.has_transparency_data
    mode = "RGBA" if has_alpha else "L" if image.mode in ("1", "L") else "RGB"
    pixels = image.convert(mode)
    if format == "JPEG" and has_alpha:
        background = Image.new("RGBA", pixels.size, "white")
        pixels = Image.alpha_composite(background, pixels).convert("RGB")
    pixels.info = {}
    return pixels
