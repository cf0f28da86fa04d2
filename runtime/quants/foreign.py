"""Formats that files may hold and the engine does not compute: enough to size a tensor and to name it in a message."""

from __future__ import annotations

from .format import BY_ID, Format, register

for _name, _id, _block, _size in (
    ("q8_1", 9, 32, 40), ("q8_k", 15, 256, 292), ("iq2_xxs", 16, 256, 66), ("iq2_xs", 17, 256, 74),
    ("iq3_xxs", 18, 256, 98), ("iq1_s", 19, 256, 50), ("iq3_s", 21, 256, 110), ("iq2_s", 22, 256, 82),
    ("iq1_m", 29, 256, 56), ("tq1_0", 34, 256, 54), ("tq2_0", 35, 256, 66), ("nvfp4", 40, 64, 36),
    ("q1_0", 41, 128, 18), ("q2_0", 42, 64, 18),
):
    register(Format(_name, _id, _block, _size))

RETIRED = {4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8",
           36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8"}  # ids that files of an older time may carry


def title(id):
    """Return what people call the format of this id, known or not: "Q4_0", "IQ2_XXS", "format 99"."""
    return repr(BY_ID[id]) if id in BY_ID else RETIRED.get(id, f"format {id}")
