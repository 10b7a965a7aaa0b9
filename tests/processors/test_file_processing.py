"""File jobs on real images and folders."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image

from engine import FileOptions, FileProcessingJobData, errors
from processors.file_processing import FileProcessingProcessor, FileProcessingResult, Limits
from processors.file_processing.archive import Archive, TooLarge
from processors.storage import Storage
from tests.processors.jobs import NotedJob

TRAVERSALS = [
    "../2/secret.txt", "a/../../2/secret.txt", "/etc/passwd", "..", ".", "a/..", "..\\2\\secret.txt",
    "a\x00.jpg", "a\n.jpg", "//etc/passwd", "./../2/secret.txt", "a/../../../etc/passwd",
]  # fmt: skip


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """A storage with folders of two tenants; the second one has a secret."""
    storage = Storage(tmp_path / "storage")
    (storage.folder("2") / "secret.txt").write_text("tenant 2 only")
    return storage


def job(
    operation: Literal["thumbnail", "zip"],
    *files: str,
    output: str | None = None,
    options: FileOptions | None = None,
    tenant: str = "1",
) -> NotedJob[FileProcessingJobData]:
    data = FileProcessingJobData(
        sub_account_id=tenant, operation=operation, files=list(files), output=output, options=options
    )
    return NotedJob("file-processing", data)


async def run(
    storage: Storage, asked: NotedJob[FileProcessingJobData], limits: Limits | None = None
) -> FileProcessingResult:
    return await FileProcessingProcessor(storage, limits).process(asked)


def photo(path: Path, size: tuple[int, int] = (800, 400), mode: str = "RGB", **options: object) -> None:
    """A picture whose left half is red and whose right half is blue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    image.convert(mode).save(path, **options)  # type: ignore[arg-type]


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_images_are_fitted_into_the_box_and_keep_their_format(storage: Storage) -> None:
    folder = storage.folder("1")
    for name, mode in (("a.jpg", "RGB"), ("b.png", "RGBA"), ("sub/a.webp", "RGB"), ("d.gif", "P"), ("e.jpg", "CMYK")):
        photo(folder / name, mode=mode)
    asked = job(
        "thumbnail", "a.jpg", "b.png", "sub/a.webp", "d.gif", "e.jpg", options=FileOptions(width=200, height=200)
    )
    result = await run(storage, asked)
    assert (result.operation, result.total, result.successful, result.failed) == ("thumbnail", 5, 5, 0)
    made = [Path(outcome.output or "") for outcome in result.results]
    assert [path.name for path in made] == ["0001-a.jpg", "0002-b.png", "0003-a.webp", "0004-d.png", "0005-e.jpg"]
    for outcome, path in zip(result.results, made, strict=True):
        assert path.parent == folder / "thumbnail-1"
        assert (outcome.width, outcome.height, outcome.bytes) == (200, 100, path.stat().st_size)
        with Image.open(path) as image:
            assert image.size == (200, 100)
    assert asked.reports == [20, 40, 60, 80, 100]


async def test_a_small_image_is_not_enlarged_and_the_format_can_be_chosen(storage: Storage) -> None:
    photo(storage.folder("1") / "a.png", (40, 20), "RGBA")
    result = await run(storage, job("thumbnail", "a.png", options=FileOptions(format="jpeg")))
    with Image.open(result.results[0].output or "") as image:
        assert (image.format, image.size) == ("JPEG", (40, 20))


async def test_the_picture_is_turned_upright_and_its_metadata_stays_behind(storage: Storage) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be seen, turn by 90 degrees clockwise: the red left half comes to the top
    exif[0x010F] = "secret maker"
    exif.get_ifd(0x8825)[1] = "N"  # a GPS block
    photo(storage.folder("1") / "a.jpg", exif=exif, comment="secret comment")
    result = await run(storage, job("thumbnail", "a.jpg", options=FileOptions(width=100, height=100)))
    with Image.open(result.results[0].output or "") as image:
        assert image.size == (50, 100)
        top, bottom = image.getpixel((25, 10)), image.getpixel((25, 90))
        assert isinstance(top, tuple)
        assert isinstance(bottom, tuple)
        assert top[0] > 200 > 60 > top[2]
        assert bottom[2] > 200 > 60 > bottom[0]
        assert not image.getexif()
        assert "comment" not in image.info
    assert b"secret" not in _read(result.results[0].output)


def _read(path: str | None) -> bytes:
    return Path(path or "").read_bytes()


async def test_a_file_that_is_no_image_does_not_fail_the_others(storage: Storage) -> None:
    folder = storage.folder("1")
    photo(folder / "good.jpg")
    whole = _read(str(folder / "good.jpg"))
    _write(folder, {"cut.jpg": whole[: len(whole) // 2], "text.jpg": b"no image", "empty.png": b""})
    _write(folder, {"odd.ppm": b"P6 1 1 255 \0\0\0"})  # Pillow could read it; only the usual formats are let in
    _write(folder, {"ps.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"})
    names = ["good.jpg", "cut.jpg", "text.jpg", "empty.png", "ps.eps", "odd.ppm", "missing.jpg"]
    result = await run(storage, job("thumbnail", *names))
    assert [outcome.status for outcome in result.results] == ["done"] + ["failed"] * 6
    assert (result.successful, result.failed) == (1, 6)
    assert all(outcome.error for outcome in result.results[1:])
    assert everything(folder / "thumbnail-1") == ["0001-good.jpg"]


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
async def test_a_decompression_bomb_is_refused_before_it_is_decoded(storage: Storage, side: int) -> None:
    _write(storage.folder("1"), {"bomb.png": _png_that_claims(side, side)})
    result = await run(storage, job("thumbnail", "bomb.png"))
    assert result.failed == 1
    assert "pixels" in (result.results[0].error or "")


def _png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


async def test_a_zip_holds_the_files_under_their_paths(storage: Storage) -> None:
    folder = storage.folder("1")
    _write(folder, {"a.txt": b"a" * 100_000, "sub/b.bin": bytes(range(256)), "ünï.txt": b"u"})
    asked = job("zip", "a.txt", "sub/./b.bin", "ünï.txt", output="all.zip")
    result = await run(storage, asked)
    assert result.output == str(folder / "zip-1" / "all.zip")
    assert result.bytes == len(_read(result.output)) < 10_000
    assert [(outcome.file, outcome.bytes) for outcome in result.results] == [
        ("a.txt", 100_000), ("sub/./b.bin", 256), ("ünï.txt", 1),
    ]  # fmt: skip
    with zipfile.ZipFile(result.output or "") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.txt", "sub/b.bin", "ünï.txt"]
        assert archive.read("sub/b.bin") == bytes(range(256))
    assert asked.reports == [33, 66, 100]


async def test_a_zip_is_made_of_all_files_or_not_at_all(storage: Storage) -> None:
    folder = storage.folder("1")
    _write(folder, {"a.txt": b"a"})
    with pytest.raises(errors.UnrecoverableError, match=r"'b\.txt': does not exist in the tenant's folder"):
        await run(storage, job("zip", "a.txt", "b.txt"))
    with pytest.raises(errors.UnrecoverableError, match=r"'a\.txt' is named twice"):
        await run(storage, job("zip", "a.txt", "./a.txt"))
    assert everything(folder) == ["a.txt"]


async def test_a_second_attempt_replaces_the_files_of_the_first(storage: Storage) -> None:
    _write(storage.folder("1"), {"a.txt": b"a"})
    first = await run(storage, job("zip", "a.txt"))
    second = await run(storage, job("zip", "a.txt"))
    assert first.output == second.output
    assert everything(storage.folder("1")) == ["a.txt", "zip-1/archive.zip"]


async def test_bytes_over_the_limit_are_refused_and_nothing_is_left(storage: Storage) -> None:
    _write(storage.folder("1"), {"a.bin": bytes(600), "b.bin": bytes(600)})
    for operation in ("thumbnail", "zip"):
        with pytest.raises(errors.UnrecoverableError, match="1,200 bytes are over the limit of 1,000"):
            await run(storage, job(operation, "a.bin", "b.bin"), Limits(max_bytes=1_000))
    assert everything(storage.folder("1")) == ["a.bin", "b.bin"]


def test_bytes_are_counted_as_they_are_packed_since_a_file_may_grow_meanwhile(tmp_path: Path) -> None:
    _write(tmp_path, {"a.bin": bytes(600)})
    with Archive(tmp_path / "out.zip", max_bytes=1_000) as archive:
        archive.add(tmp_path / "a.bin", "a.bin")
        with pytest.raises(TooLarge, match="more than 1,000 bytes"):
            archive.add(tmp_path / "a.bin", "b.bin")


@pytest.mark.parametrize("name", TRAVERSALS)
async def test_a_path_out_of_the_tenants_folder_fails_the_job_for_good(storage: Storage, name: str) -> None:
    _write(storage.folder("1"), {"a/x.txt": b"x"})
    for operation in ("thumbnail", "zip"):
        with pytest.raises(errors.UnrecoverableError):
            await run(storage, job(operation, "a/x.txt", name))
    assert everything(storage.folder("1")) == ["a/x.txt"]


async def test_a_link_out_of_the_tenants_folder_is_not_followed(storage: Storage) -> None:
    folder = storage.folder("1")
    _link(folder / "file.txt", storage.folder("2") / "secret.txt")
    _link(folder / "dir", storage.folder("2"))
    for name in ("file.txt", "dir/secret.txt"):
        with pytest.raises(errors.UnrecoverableError, match="is outside the tenant's folder"):
            await run(storage, job("zip", name))
    _write(folder, {"own.txt": b"x"})
    _link(folder / "zip-1", storage.folder("2"))
    with pytest.raises(errors.UnrecoverableError, match="is a symbolic link"):
        await run(storage, job("zip", "own.txt"))
    assert everything(storage.folder("2")) == ["secret.txt"]


def _link(path: Path, target: Path) -> None:
    path.symlink_to(target)


@pytest.mark.parametrize("output", ["../x.zip", "/tmp/x.zip", "a/b.zip", "..", ".hidden", "a\\b", "a\nb", "a\x00"])
async def test_an_output_that_is_no_plain_name_fails_the_job_for_good(storage: Storage, output: str) -> None:
    _write(storage.folder("1"), {"a.txt": b"a"})
    with pytest.raises(errors.UnrecoverableError, match="not a plain file name"):
        await run(storage, job("zip", "a.txt", output=output))


async def test_a_folder_or_a_device_is_not_a_file(storage: Storage) -> None:
    _write(storage.folder("1"), {"a/x.txt": b"x"})
    with pytest.raises(errors.UnrecoverableError, match="does not exist in the tenant's folder"):
        await run(storage, job("zip", "a"))


NASTY_TENANTS = [
    "1",
    "..",
    ".",
    "a/b",
    "a_b",
    "a%2Fb",
    "../2",
    "2/",
    "é",
    "x" * 150,
    "x" * 149 + "y",
    "a~b",
    "~",
    "/",
    "a b",
    "A",
]


def test_every_tenant_has_a_folder_of_its_own_just_below_the_root(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    folders = [storage.folder(tenant) for tenant in NASTY_TENANTS]
    assert len(set(folders)) == len(NASTY_TENANTS)
    assert all(folder.parent == tmp_path.resolve() for folder in folders)
    assert storage.folder("1") == tmp_path.resolve() / "1"
