"""The colours that labels have in a mask: those of PASCAL VOC, in which neighbouring numbers are far apart."""

from __future__ import annotations

COLOURS = 256


def colour(label: int) -> tuple[int, int, int]:
    """Red, green and blue of a label from 0 to 255; 0 is black.

    The bits of the number, three by three, are those of the colours from the highest on: VOClabelcolormap in
    http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCdevkit_18-May-2011.tar

    >>> colour(0), colour(1), colour(15), colour(255)
    ((0, 0, 0), (128, 0, 0), (192, 128, 128), (224, 224, 192))
    """
    red = green = blue = 0
    for place in range(7, -1, -1):
        red |= (label & 1) << place
        green |= (label >> 1 & 1) << place
        blue |= (label >> 2 & 1) << place
        label >>= 3
    return red, green, blue
