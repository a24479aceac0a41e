from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.toolchains.pictures import assert_same, opened, plain, saved

if TYPE_CHECKING:
    from tests.toolchains.guest import Guest

PHOTO = Path(__file__).parents[2] / "notebooks" / "data" / "photo.png"


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (3, 5, 20, 11), (36, 22, 1, 1), (0, 22, 37, 1), (0, 0, 37, 23)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_crop_is_pillow_s(imgops: Guest, mode: str, box: tuple[int, int, int, int]) -> None:
    """
    A crop is the part that it says.
    """
    picture = Image.frombytes(mode, (37, 23), random.Random(5).randbytes(37 * 23 * len(mode)))
    x, y, width, height = box

    assert_same(opened(imgops.call("crop", saved(picture), *box)), picture.crop((x, y, x + width, y + height)))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_quarter_turn_is_clockwise(imgops: Guest, mode: str) -> None:
    """
    The left column becomes the upper row; four turns are none.
    """
    picture = Image.frombytes(mode, (37, 23), random.Random(5).randbytes(37 * 23 * len(mode)))
    once = imgops.call("rotate90", saved(picture))
    four = imgops.call("rotate90", imgops.call("rotate90", imgops.call("rotate90", once)))

    assert_same(opened(once), picture.transpose(Image.Transpose.ROTATE_270))
    assert_same(opened(four), picture)


def test_gray_is_the_formula_to_the_bit(imgops: Guest) -> None:
    """
    Gray is (19595 R + 38470 G + 7471 B + 32768) / 65536, which is what Pillow says too; alpha stays.
    """
    rgb = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    rgb[0, :3] = [[255, 255, 255], [0, 0, 0], [255, 0, 0]]
    alpha = np.arange(4096, dtype=np.uint8).reshape(64, 64)
    expected = (rgb.astype(np.int64) @ np.array([19595, 38470, 7471]) + 32768) >> 16
    gray = opened(imgops.call("grayscale", saved(Image.fromarray(rgb))))
    both = opened(imgops.call("grayscale", saved(Image.fromarray(np.dstack([rgb, alpha])))))

    assert (np.asarray(gray) == expected).all()
    assert_same(gray, Image.fromarray(rgb).convert("L"))
    assert both.mode == "LA"
    assert (np.asarray(both) == np.dstack([expected, alpha])).all()


def test_gray_stays_gray(imgops: Guest) -> None:
    """
    A gray picture is what it was.
    """
    picture = Image.frombytes("LA", (5, 4), random.Random(5).randbytes(40))

    assert_same(opened(imgops.call("grayscale", saved(picture))), picture)


def gaussian(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Blur in double precision, out to six sigma, the edge repeated; the measure of the module's arithmetic."""
    reach = int(np.ceil(6 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    height, width = picture.shape[:2]
    tall = np.pad(picture.astype(float), ((reach, reach), (0, 0), (0, 0)), mode="edge")
    rows = sum(weight * tall[i : i + height] for i, weight in enumerate(weights))
    wide = np.pad(rows, ((0, 0), (reach, reach), (0, 0)), mode="edge")
    return np.asarray(sum(weight * wide[:, i : i + width] for i, weight in enumerate(weights)))


@pytest.mark.parametrize("sigma", [0.3, 0.8, 2.0, 7.5, 40.0])
def test_a_blur_is_gauss_s(imgops: Guest, sigma: float) -> None:
    """
    Each sample is within two levels of a Gaussian blur in double precision.
    """
    picture = np.asarray(Image.open(PHOTO).crop((200, 100, 250, 140)))
    noisy = np.random.default_rng(4).integers(0, 256, (40, 50, 3), dtype=np.uint8)

    for samples in (picture, noisy):
        got = np.asarray(opened(imgops.call("blur", saved(Image.fromarray(samples)), sigma)))
        assert np.abs(got - gaussian(samples, sigma)).max() <= 2


def test_a_blur_keeps_what_is_even(imgops: Guest) -> None:
    """
    One colour stays that colour, to the edge.
    """
    picture = Image.new("RGB", (20, 10), (255, 128, 1))

    assert_same(opened(imgops.call("blur", saved(picture), 3.0)), picture)


def test_clear_pixels_have_no_colour(imgops: Guest) -> None:
    """
    The hidden colour of clear pixels does not bleed: beside them, what is seen keeps its colour and fades.
    """
    samples = np.zeros((16, 16, 4), dtype=np.uint8)
    samples[:, :8] = [200, 100, 50, 255]
    samples[:, 8:] = [0, 255, 0, 0]
    got = np.asarray(opened(imgops.call("blur", saved(Image.fromarray(samples)), 1.5))).astype(int)
    alpha = gaussian(samples[..., 3:], 1.5)[..., 0]

    assert np.abs(got[..., 3] - alpha).max() <= 2
    assert np.abs(got[alpha > 1][:, :3] - [200, 100, 50]).max() <= 1


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((150, 350, 500, 500), "the crop 500x500+150+350 leaves the picture of 4x3"),
        ((0, 0, 5, 1), "the crop 5x1+0+0 leaves the picture of 4x3"),
        ((0, 3, 1, 1), "the crop 1x1+0+3 leaves the picture of 4x3"),
        ((2**32 - 1, 0, 2, 1), "the crop 2x1+4294967295+0 leaves the picture of 4x3"),
        ((0, 1, 1, 2**32 - 1), "the crop 1x4294967295+0+1 leaves the picture of 4x3"),
        ((0, 0, 0, 3), "a crop of 0x3 has no pixels"),
    ],
)
def test_a_crop_stays_inside(imgops: Guest, box: tuple[int, int, int, int], message: str) -> None:
    """
    A crop that leaves the picture is refused with all the numbers, those that would overflow too.
    """
    assert imgops.call("crop", plain(4, 3), *box) == message


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf"), 501.0])
def test_a_blur_has_a_width(imgops: Guest, sigma: float) -> None:
    """
    A sigma that means nothing is refused.
    """
    assert imgops.call("blur", plain(), sigma) == "sigma must be above 0 and at most 500"


@pytest.mark.parametrize(
    ("function", "args", "fuel"),
    [
        ("crop", (60, 20, 300, 360), 900),
        ("rotate90", (), 1_800),
        ("grayscale", (), 850),
        ("blur", (2.0,), 2_800),
    ],
)
def test_a_photograph(imgops: Guest, function: str, args: tuple[int | float, ...], fuel: int) -> None:
    """
    A photograph of 640x427 takes a fraction of a second, and comes out as small as Pillow would save it.

    The work is counted in millions of Wasm instructions, which no other program on the machine can disturb.
    """
    photo = Image.open(PHOTO).convert("RGB")
    out = imgops.call(function, PHOTO.read_bytes(), *args)
    picture = opened(out)

    assert len(out) < 1.1 * len(saved(picture))
    assert imgops.fuel < fuel * 1_000_000
    match function:
        case "crop":
            assert_same(picture, photo.crop((60, 20, 360, 380)))
        case "rotate90":
            assert_same(picture, photo.transpose(Image.Transpose.ROTATE_270))
        case "grayscale":
            assert_same(picture, photo.convert("L"))
        case _:
            assert np.abs(np.asarray(picture) - gaussian(np.asarray(photo), 2.0)).max() <= 2


def test_the_modules_need_nothing(imgops: Guest) -> None:
    """
    The module asks its host for nothing at all.
    """
    assert imgops.imports == []
