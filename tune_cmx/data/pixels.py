"""Decode image files, in the number type that the file has, and check their values."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from tune_cmx.errors import DataError

Pixels = NDArray[Any]
"""H×W×bands; uint8, uint16, int32 or float32, in the units of the file."""
_AS_THEY_ARE = ("L", "RGB", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_CONVERTED = {"1": "L", "LA": "L"} | dict.fromkeys(("P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"), "RGB")
"""Pillow's mode of a file, and the mode that is read."""
_REMARKED = {"1": "1-bit", "CMYK": "CMYK", "YCbCr": "YCbCr", "HSV": "HSV", "LAB": "LAB"}
"""Modes whose conversion is a remark. So is an alpha channel that is not constant. Palettes are exact."""
TURNED = "have an EXIF orientation, which was applied; their boxes must fit the upright picture"
"""The remark on a file that is stored in another orientation than it is shown."""
_ALPHA = ("PA", "LA", "RGBA")
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_BITS, _PNG_COLOUR = 24, 25
"""Positions in a PNG file of its bits a channel and its kind of colour."""
_PLAIN = ((8, 0), (16, 0), (8, 2))
"""Bits and kind of colour of grey and RGB files that are read as they are."""
_TURNING = frozenset({b"eXIf", b"iTXt"})
"""Chunks of a PNG file that may have an orientation."""
_ORIENTATION, _BITS = 0x0112, 0x0102
"""EXIF and TIFF tags."""
_JPEG_ROUNDING = 3
"""Levels of 255 by which channels of a grey picture may differ after JPEG's conversion from YCbCr and back."""
_CORRUPT = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def decode_image(content: bytes, place: str) -> Pixels:
    """The pixels of an image file of any kind that Pillow reads, H×W×1 or H×W×3, upright as EXIF says.

    Pillow reduces colour images of 16 bits a channel to the upper eight; grey ones are read in full. Alpha channels are
    left out. CMYK, YCbCr, HSV and LAB become RGB.

    Args:
        content: The file's bytes.
        place: The file's name for error messages.

    Raises:
        DataError: The file is corrupt, of an unknown kind, or in a colour space that cannot be converted.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode not in _AS_THEY_ARE and image.mode not in _CONVERTED:
                raise DataError(
                    f"{place}: the colour mode is {image.mode}; grey and RGB images are read. Convert it, as in "
                    f"magick {place} -colorspace sRGB NEW.png"
                )
            upright = image if _is_plain(content, _TURNING | {b"tEXt", b"zTXt"}) else ImageOps.exif_transpose(image)
            pixels = np.asarray(_converted(upright))
    except UnidentifiedImageError as error:  # its own text names an object in memory
        state = "the file is empty" if not content else "corrupt, or no image of a known form"
        raise DataError(f"{place}: {state}; export it again as PNG, JPEG or TIFF") from error
    except _CORRUPT as error:
        raise DataError(f"{place}: corrupt, or no image of a known form: {error}") from error
    except ImageCms.PyCMSError as error:
        raise DataError(f"{place}: the colour mode is LAB and cannot be converted to RGB: {error}") from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return checked(pixels, place)


def picture_remarks(content: bytes) -> list[str]:
    """What is unusual about an image file, as in `have several pages, of which the first is read`.

    Only the file's header is read, except where there is an alpha channel.

    Args:
        content: The file's bytes, which `decode_image` can read; files of other kinds have no remarks.
    """
    if _is_plain(content, _TURNING):
        return []
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except _CORRUPT:
        return []
    with image:
        try:
            return _remarks(image, content)
        except _CORRUPT:  # decode_image names the file
            return []


def with_bands(pixels: Pixels, count: int) -> Pixels:
    """An image with one or three bands: grey is repeated three times, colour is averaged to one band.

    Args:
        pixels: H×W×1 or H×W×3.
        count: 1 or 3.
    """
    if pixels.shape[2] == count:
        return pixels
    if count == 3:
        return pixels.repeat(3, axis=2)
    first, *others = _channels(pixels)
    if all(np.array_equal(first, other) for other in others):
        return pixels[:, :, :1]
    exact = np.float32 if pixels.dtype == np.float32 else np.float64
    total: NDArray[Any] = np.add.reduce([channel.astype(exact) for channel in (first, *others)])
    mean: Pixels = total[:, :, None] / exact(pixels.shape[2])
    return mean if pixels.dtype == np.float32 else np.rint(mean).astype(pixels.dtype)


def bands_remark(pixels: Pixels, count: int) -> str:
    """What `with_bands` changes, as in `are grey and were repeated as three bands`; empty if nothing.

    Args:
        pixels: As for `with_bands`.
        count: As for `with_bands`.
    """
    if pixels.shape[2] == count:
        return ""
    if count == 3:
        return "are grey and were repeated as three bands"
    if channels_equal(pixels):
        return "have three equal channels, which are read as one band"
    return (
        "have unequal colour channels (pseudo-colour); their mean is taken as the one band, which follows neither "
        "temperature nor intensity. Export grey or raw 16-bit images from the camera's software"
    )


def channels_equal(pixels: Pixels) -> bool:
    """Whether a picture is grey: its channels differ by no more than JPEG rounds off."""
    channels = _channels(pixels)
    if pixels.dtype != np.uint8:
        return all(np.array_equal(channels[0], channel) for channel in channels[1:])
    spread = np.maximum.reduce(channels) - np.minimum.reduce(channels)
    return int(spread.max()) <= _JPEG_ROUNDING


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """An image of another size, bilinear and antialiased, in its own number type.

    Args:
        pixels: H×W×bands.
        height: Wanted, in pixels.
        width: Wanted, in pixels.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    bands = [
        Image.fromarray(band.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
        for band in pixels.transpose(2, 0, 1)
    ]
    found = np.stack([np.asarray(band) for band in bands], axis=2)
    return found if pixels.dtype.kind == "f" else np.rint(found).astype(pixels.dtype)


def full_scale(dtype: np.dtype[Any]) -> float:
    """The value that becomes 1 once pixels are scaled by their number type: 255, 65535, or 1 for int32 and floats."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def checked(pixels: NDArray[Any], place: str) -> Pixels:
    """The pixels in one of the four number types, in this machine's byte order.

    Args:
        pixels: H×W×channels. Whole numbers of other types become int32, floats float32.
        place: The file's name for error messages.

    Raises:
        DataError: The number type is another one, a float is not finite, or a number is too large.
    """
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype.kind in "iu":
        low, high, most = int(pixels.min()), int(pixels.max()), np.iinfo(np.int32)
        if low < most.min or high > most.max:
            raise DataError(f"{place}: whole numbers must fit into int32; got {low}..{high} as {pixels.dtype}")
        return pixels.astype(np.int32, copy=False)
    if pixels.dtype.kind != "f":
        raise DataError(f"{place}: numbers are {pixels.dtype}; whole numbers or floats are needed")
    with np.errstate(over="ignore"):  # the check below names what overflows
        single = pixels.astype(np.float32, copy=False)
    if not np.isfinite(single).all():
        row, column, band = np.argwhere(~np.isfinite(single))[0].tolist()
        raise DataError(
            f"{place}: {pixels[row, column, band]} at row {row}, column {column}, band {band}; finite numbers are "
            "needed, so write a value in place of missing pixels"
        )
    return single


def _channels(pixels: Pixels) -> list[NDArray[Any]]:
    """H×W each: numpy is ten times slower over a short last axis."""
    return [pixels[:, :, channel] for channel in range(pixels.shape[2])]


def _converted(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":  # Pillow itself has no such conversion
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        assert converted is not None, "only in place it gives nothing"
        return converted
    mode = _CONVERTED.get(image.mode)
    return image if mode is None else image.convert(mode)


def _remarks(image: Image.Image, content: bytes) -> list[str]:
    found = []
    if _orientation(image, content) != 1:
        found.append(TURNED)
    if image.mode in _REMARKED:
        found.append(f"are {_REMARKED[image.mode]} and were converted to {_CONVERTED[image.mode]}")
    if image.mode in _ALPHA:
        low, high = image.getchannel("A").getextrema()
        if low != high:
            found.append("have an alpha channel that is not constant; it is left out")
    if image.mode in ("RGB", "RGBA", "LA") and _bits(image, content) == 16:
        found.append("have 16 bits a channel, of which the upper 8 are read; grey PNG files and .npy are read in full")
    if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
        found.append("have several pages, of which the first is read")
    return found


def _orientation(image: Image.Image, content: bytes) -> int:
    """EXIF orientation 1..8; 1 is upright. Pillow would decode a PNG file to find none."""
    if image.format == "PNG":
        present = not _chunks(content).isdisjoint(_TURNING)
    else:
        present = image.format == "TIFF" or "exif" in image.info or b"tiff:Orientation" in image.info.get("xmp", b"")
    orientation = image.getexif().get(_ORIENTATION, 1) if present else 1
    return orientation if orientation in range(1, 9) else 1


def _is_plain(content: bytes, turning: frozenset[bytes]) -> bool:
    """Whether it is a grey or RGB PNG file without these chunks: most files are, and this is faster than Pillow."""
    return (
        content.startswith(_PNG)
        and tuple(content[_PNG_BITS : _PNG_COLOUR + 1]) in _PLAIN
        and _chunks(content).isdisjoint(turning)
    )


def _chunks(png: bytes) -> set[bytes]:
    """The names of a PNG file's chunks."""
    names, place = set(), len(_PNG)
    while place + 8 <= len(png):
        names.add(png[place + 4 : place + 8])
        place += 12 + int.from_bytes(png[place : place + 4], "big")
    return names


def _bits(image: Image.Image, content: bytes) -> int:
    """Bits a channel of a PNG or TIFF file; 8 of others."""
    if image.format == "PNG":
        return content[_PNG_BITS]
    return int(np.max(image.getexif().get(_BITS, 8))) if image.format == "TIFF" else 8
