"""CRC-32 at the speed of memory, and of a hole's zeros without touching them."""

from __future__ import annotations

try:  # 26 GB/s where zlib does 6; the package has wheels for x86-64 and aarch64 only
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

__all__ = ["crc32", "crc32_zeros"]

_POLYNOMIAL = 0xEDB88320  # CRC-32 with its bits reversed: bit 31 is the coefficient of x^0


def crc32_zeros(crc: int, count: int) -> int:
    """Return the CRC-32 of data whose CRC-32 is `crc`, followed by `count` zero bytes; takes O(log count)."""
    power, square = 1 << 31, 1 << 23  # x^0 and x^8: one zero byte multiplies the register by x^8
    while count:
        if count & 1:
            power = _times(power, square)
        square = _times(square, square)
        count >>= 1
    return _times(power, crc ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def _times(a: int, b: int) -> int:
    """Multiply two polynomials modulo CRC-32's."""
    product = 0
    while a:
        if a >> 31:
            product ^= b
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product
