"""Small images as PNG, in a data URI: no file beside the page, no library behind it.

A PNG is a signature and chunks: the header, the rows (each with filter 0) compressed by
zlib, and the end; each chunk has a CRC-32. Pixels are written one to one, and the page
enlarges them without smoothing, so that one sees what the model saw.

Reference: ISO/IEC 15948 (PNG), §§5, 11.
"""

import base64
import struct
import zlib

import numpy as np
from jaxtyping import Num, UInt8


LARGEST = 128  # pixels a side; a larger image is thinned


def data_uri(image: Num[np.ndarray, "height width ..."]) -> str:
    """An image in [0, 1], grey or of one or three channels, as a PNG data URI."""
    x = np.asarray(image, np.float64)
    x = x[:: -(-x.shape[0] // LARGEST), :: -(-x.shape[1] // LARGEST)]
    if x.ndim == 3 and x.shape[-1] != 3:
        x = x[..., 0]
    pixels = np.round(255 * np.clip(np.nan_to_num(x), 0, 1)).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def png(pixels: UInt8[np.ndarray, "height width ..."]) -> bytes:
    """Grey (height, width) or coloured (height, width, 3) pixels as a PNG file."""
    height, width = pixels.shape[:2]
    kind = 2 if pixels.ndim == 3 else 0
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows, 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
