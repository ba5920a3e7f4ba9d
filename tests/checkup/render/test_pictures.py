"""PNG files that others can read."""

import base64
import io

import numpy as np
import pytest
from matplotlib.image import imread

from steepest.checkup.render.pictures import data_uri, png


@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (4, 6, 3)])
def test_pixels_survive_an_independent_reader(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    read = imread(io.BytesIO(png(pixels)), format="png")
    np.testing.assert_array_equal(np.round(255 * read[..., : shape[-1]]), pixels)


def test_an_image_of_one_channel_is_grey_and_what_is_not_a_number_is_black():
    image = np.full((4, 4, 1), 0.5, np.float32)
    image[0, 0] = np.nan
    content = base64.b64decode(data_uri(image).split(",")[1])
    read = imread(io.BytesIO(content), format="png")
    assert read.shape == (4, 4)
    assert read[0, 0] == 0 and read[1, 1] == pytest.approx(0.5, abs=1 / 255)


def test_a_large_image_is_thinned():
    content = base64.b64decode(data_uri(np.zeros((1000, 300))).split(",")[1])
    assert max(imread(io.BytesIO(content), format="png").shape) <= 128
