"""Files in the true form of each number type, colour space and orientation."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from tune_cmx.data.audit import audit
from tune_cmx.data.pixels import bands_remark, channels_equal, checked, decode_image, picture_remarks
from tune_cmx.data.readers import open_data, read_image
from tune_cmx.errors import DataError

GREY = np.arange(96, dtype=np.uint8).reshape(8, 12)
COLOUR = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
RAW = (7000 + 37 * np.arange(96)).astype(np.uint16).reshape(8, 12)


def file(image, kind="PNG", **options):
    """The bytes of an image file."""
    held = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(held, kind, **options)
    return held.getvalue()


def deep_png(pixels):
    """A PNG file of 16 bits a channel, which Pillow does not write."""
    height, width, channels = pixels.shape
    lines = b"".join(b"\0" + pixels[row].astype(">u2").tobytes() for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def oriented(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


class TestNumberTypes:
    @pytest.mark.parametrize(
        ("pixels", "kind"),
        [
            (GREY, "PNG"),
            (GREY, "BMP"),
            (GREY, "TIFF"),
            (COLOUR, "PNG"),
            (RAW, "PNG"),
            (RAW, "TIFF"),
            (RAW.astype(np.int32) * 1000 - 5, "TIFF"),
            (RAW.astype(np.float32) / 25, "TIFF"),
        ],
        ids=lambda value: value if isinstance(value, str) else f"{value.dtype}-{value.ndim}",
    )
    def test_every_number_is_read_as_it_is(self, pixels, kind):
        found = decode_image(file(pixels, kind), "a")
        assert found.dtype == pixels.dtype
        np.testing.assert_array_equal(found, pixels if pixels.ndim == 3 else pixels[:, :, None])
        assert picture_remarks(file(pixels, kind)) == []

    def test_a_tiff_of_the_other_byte_order(self):
        big = file(Image.frombytes("I;16B", (12, 8), RAW.astype(">u2").tobytes()), "TIFF")
        assert big[:2] == b"MM" or Image.open(io.BytesIO(big)).mode == "I;16B"
        found = decode_image(big, "a")
        assert found.dtype == np.dtype("=u2")
        np.testing.assert_array_equal(found[:, :, 0], RAW)

    def test_a_grey_png_of_16_bits_keeps_all_of_them(self):
        np.testing.assert_array_equal(decode_image(deep_png(RAW[:, :, None]), "a")[:, :, 0], RAW)

    @pytest.mark.parametrize("channels", [2, 3, 4])
    def test_lost_bits_of_colour_are_told(self, channels):
        pixels = np.random.default_rng(1).integers(0, 65536, (8, 12, channels)).astype(np.uint16)
        found = decode_image(deep_png(pixels), "a")
        assert found.dtype == np.uint8
        assert "16 bits a channel, of which the upper 8 are read" in picture_remarks(deep_png(pixels))[-1]

    def test_lost_bits_of_a_colour_tiff_are_told(self):
        """Pillow does not write such a file: a plain one, its channel widths changed in its table of tags."""
        values = np.arange(12, dtype="<u2").reshape(2, 2, 3) * 5000
        entry = lambda tag, kind, count, value: struct.pack("<HHII", tag, kind, count, value)  # noqa: E731
        tags = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 134), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 140)]
        tags += [(277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 24), (284, 3, 1, 1)]
        table = struct.pack("<H", len(tags)) + b"".join(entry(*tag) for tag in tags) + struct.pack("<I", 0)
        content = b"II*\0" + struct.pack("<I", 8) + table
        content += struct.pack("<HHH", 16, 16, 16) + values.tobytes()
        assert len(table) + 8 == 134
        np.testing.assert_array_equal(decode_image(content, "a"), values >> 8)
        assert "upper 8 are read" in picture_remarks(content)[0]

    @pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint32, np.int64])
    def test_other_whole_numbers_become_int32(self, dtype):
        found = checked(np.full((2, 2, 1), 100, dtype=dtype), "a.npy")
        assert (found.dtype, found[0, 0, 0]) == (np.int32, 100)

    def test_numbers_beyond_the_type_are_refused(self):
        with pytest.raises(
            DataError, match=r"a\.npy: whole numbers must fit into int32; got 0\.\.4294967295 as uint32"
        ):
            checked(np.array([[[0], [2**32 - 1]]], dtype=np.uint32), "a.npy")
        with pytest.raises(DataError, match=r"a\.npy: 1e\+39 at row 0, column 0, band 0"):
            checked(np.array([[[1e39]]]), "a.npy")


class TestColourSpaces:
    def test_palettes_are_exact(self):
        found = decode_image(file(Image.fromarray(GREY).convert("P")), "a")
        np.testing.assert_array_equal(found, GREY[:, :, None].repeat(3, axis=2))

    def test_one_bit_is_black_and_white(self):
        content = file(Image.fromarray(GREY > 40))
        np.testing.assert_array_equal(decode_image(content, "a")[:, :, 0], np.where(GREY > 40, 255, 0))
        assert picture_remarks(content) == ["are 1-bit and were converted to L"]

    def test_lab_becomes_srgb(self):
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        smooth = np.stack([GREY + 80, GREY + 60, GREY + 40], axis=2).astype(np.uint8)
        content = file(ImageCms.profileToProfile(Image.fromarray(smooth), *profiles, outputMode="LAB"), "TIFF")
        assert Image.open(io.BytesIO(content)).mode == "LAB"
        assert np.abs(decode_image(content, "a").astype(int) - smooth).max() <= 3
        assert picture_remarks(content) == ["are LAB and were converted to RGB"]

    @pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF")])
    def test_print_and_video_spaces_become_rgb(self, mode, kind):
        plain = Image.new("RGB", (12, 8), (200, 120, 40))
        content = file(plain.convert(mode), kind)
        assert np.abs(decode_image(content, "a").astype(int) - (200, 120, 40)).max() <= 6
        assert picture_remarks(content) == [f"are {mode} and were converted to RGB"]

    def test_an_alpha_channel_is_left_out_and_told_where_it_says_anything(self):
        alpha = np.full((8, 12, 1), 255, dtype=np.uint8)
        content = file(np.concatenate([COLOUR, alpha], axis=2))
        np.testing.assert_array_equal(decode_image(content, "a"), COLOUR)
        assert picture_remarks(content) == []
        content = file(np.concatenate([COLOUR, GREY[:, :, None]], axis=2))
        np.testing.assert_array_equal(decode_image(content, "a"), COLOUR)
        assert picture_remarks(content) == ["have an alpha channel that is not constant; it is left out"]

    def test_an_unknown_space_is_refused(self, monkeypatch):
        monkeypatch.setattr("tune_cmx.data.pixels._CONVERTED", {})
        with pytest.raises(DataError, match=r"rgb/a\.jpg: the colour mode is CMYK; .* magick rgb/a\.jpg -colorspace"):
            decode_image(file(Image.new("CMYK", (12, 8)), "JPEG"), "rgb/a.jpg")

    def test_pages_and_bits_that_are_not_read_are_told(self):
        page = Image.fromarray(GREY)
        content = file(page, "TIFF", save_all=True, append_images=[page])
        assert picture_remarks(content) == ["have several pages, of which the first is read"]

    def test_files_of_other_kinds_have_no_remarks(self):
        for content in (b"", b"\x93NUMPY", file(GREY)[:50]):
            assert picture_remarks(content) == []


@pytest.mark.parametrize(("content", "said"), [(b"", "the file is empty"), (b"no image", "corrupt, or no image")])
def test_a_file_that_is_no_image_is_described_in_words(content, said):
    with pytest.raises(DataError, match=rf"a\.png: {said}.*; export it again") as error:
        decode_image(content, "a.png")
    assert "BytesIO" not in str(error.value)


class TestOrientation:
    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    @pytest.mark.parametrize(("number", "turns"), [(3, 2), (6, 3), (8, 1)])
    def test_pictures_are_upright(self, kind, number, turns):
        content = file(GREY, kind, exif=oriented(number))
        np.testing.assert_array_equal(decode_image(content, "a")[:, :, 0], np.rot90(GREY, turns))
        assert ["EXIF orientation, which was applied" in remark for remark in picture_remarks(content)] == [True]

    def test_a_photograph_upside_down(self):
        smooth = np.linspace(0, 255, 64 * 64).astype(np.uint8).reshape(64, 64)
        content = file(smooth, "JPEG", quality=95, exif=oriented(3))
        found = decode_image(content, "a")[:, :, 0].astype(int)
        assert np.abs(found - np.rot90(smooth, 2)).max() < 20
        assert len(picture_remarks(content)) == 1
        assert picture_remarks(file(smooth, "JPEG", exif=oriented(1))) == []

    def test_a_turned_webp_file_is_remarked(self):
        content = file(np.dstack([GREY] * 3), "WEBP", lossless=True, exif=oriented(3))
        assert ["EXIF orientation, which was applied" in remark for remark in picture_remarks(content)] == [True]

    def test_sixteen_bits_are_turned_too(self):
        np.testing.assert_array_equal(decode_image(file(RAW, "PNG", exif=oriented(6)), "a")[:, :, 0], np.rot90(RAW, 3))

    def test_turned_images_are_counted(self, folders):
        root = folders()
        for id in ("a", "c"):
            (root / "rgb" / f"{id}.png").write_bytes(file(COLOUR, exif=oriented(3)))
        data = open_data(root)
        np.testing.assert_array_equal(read_image(data, data.images[0], ["rgb"])["rgb"], np.rot90(COLOUR, 2))
        assert [warning.partition(",")[0] for warning in audit(data).warnings] == [
            "rgb: 2 of 3 images have an EXIF orientation"
        ]

    def test_modalities_must_agree_in_size_once_upright(self, folders):
        root = folders()
        (root / "rgb" / "a.png").write_bytes(file(COLOUR, exif=oriented(6)))
        with pytest.raises(DataError, match=r"rgb 8×12, thermal 12×8.* EXIF orientation"):
            audit(open_data(root))
        (root / "rgb" / "a.png").write_bytes(file(np.rot90(COLOUR), exif=oriented(6)))
        data = open_data(root)
        assert audit(data).sizes["a"] == (8, 12)
        np.testing.assert_array_equal(read_image(data, data.images[0], ["rgb"])["rgb"], COLOUR)

    def test_boxes_must_be_those_of_the_upright_picture(self, folders):
        root = folders(modalities=["rgb"])
        for id in "abc":
            (root / "rgb" / f"{id}.png").write_bytes(file(COLOUR, exif=oriented(6)))
            (root / "labels" / f"{id}.txt").unlink()

        def label(width, height, right):
            box = f"<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{right}</xmax><ymax>4</ymax></bndbox>"
            size = f"<size><width>{width}</width><height>{height}</height></size>" if width else ""
            for id in "abc":
                text = f"<annotation>{size}<object><name>person</name>{box}</object></annotation>"
                (root / "labels" / f"{id}.xml").write_text(text)
            return audit(open_data(root))

        assert label(8, 12, right=7).sizes["a"] == (12, 8)
        with pytest.raises(DataError, match=r"a\.xml: is for an image of 12×8 .* has 8×12\. Its EXIF .* exiftool"):
            label(12, 8, right=7)
        with pytest.raises(DataError, match=r"a\.xml: .* reaches out of the image of 8×12 pixels\. Its EXIF"):
            label(None, None, right=11)


class TestBands:
    def test_grey_pictures_of_three_channels_are_grey_after_jpeg(self):
        draw = np.random.default_rng(2)
        grey = draw.integers(0, 256, (64, 64, 1))
        for noise, quality in ((0, 50), (0, 95), (2, 90), (3, 95)):
            noisy = (grey + draw.integers(-noise, noise + 1, (64, 64, 3))).clip(0, 255).astype(np.uint8)
            assert channels_equal(decode_image(file(noisy, "JPEG", quality=quality), "a"))

    def test_pseudo_colour_is_told(self):
        assert not channels_equal(COLOUR)
        assert "pseudo-colour" in bands_remark(COLOUR, 1)
        nearly = GREY[:, :, None].astype(np.uint16).repeat(3, axis=2)
        assert "three equal channels" in bands_remark(nearly, 1)
        nearly[0, 0, 1] += 1
        assert "pseudo-colour" in bands_remark(nearly, 1), "a file of 16 bits is no JPEG file"
        assert bands_remark(COLOUR, 3) == ""


@pytest.mark.parametrize("chunk", [b"eXIf", b"iTXt", b"tEXt", b"zTXt"])
def test_a_png_file_with_notes_is_turned_as_pillow_turns_it(chunk):
    stream, info = io.BytesIO(), PngImagePlugin.PngInfo()
    exif = Image.Exif()
    exif[0x0112] = 3
    raw = f"\nexif\n{len(exif.tobytes())}\n{exif.tobytes().hex()}\n"
    if chunk == b"iTXt":
        info.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta tiff:Orientation="3"/>')
    elif chunk != b"eXIf":
        info.add_text("Raw profile type exif", raw, zip=chunk == b"zTXt")
    pixels = np.arange(96, dtype=np.uint8).reshape(8, 12)
    Image.fromarray(pixels).save(stream, "PNG", pnginfo=info, **({"exif": exif} if chunk == b"eXIf" else {}))
    assert chunk in stream.getvalue()
    np.testing.assert_array_equal(decode_image(stream.getvalue(), "a.png")[:, :, 0], pixels[::-1, ::-1])
