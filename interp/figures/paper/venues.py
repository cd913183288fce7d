"""Widths and font sizes of the venues whose papers figures are made for."""

from __future__ import annotations

from dataclasses import dataclass

#: Points (1/72 inch, as PDF counts them) in an inch and in a centimetre.
INCH, CENTIMETRE = 72.0, 72.0 / 2.54


@dataclass(frozen=True)
class Venue:
    """What a venue's style file asks of a figure.

    Attributes:
        widths: points that a figure over one column has, and one over two where there are two.
        caption_size: points of the captions' font, which figures share.
    """

    widths: tuple[float, ...]
    caption_size: float


#: Each number from the venue's style file for LaTeX or its formatting instructions:
#: ICML: icml2025.sty sets \textwidth 6.75in and \columnsep 0.25in; captions are 9 points.
#: NeurIPS: neurips_2024.sty sets textwidth=5.5in, one column; captions are in the text's 10 points.
#: ICLR: iclr2025_conference.sty sets \textwidth 5.5in, one column; captions likewise.
#: ACL: acl.sty sets a text width of 16 cm and \columnsep 0.6 cm; captions are 10 points.
VENUES = {
    "icml": Venue((3.25 * INCH, 6.75 * INCH), 9.0),
    "neurips": Venue((5.5 * INCH,), 10.0),
    "iclr": Venue((5.5 * INCH,), 10.0),
    "acl": Venue((7.7 * CENTIMETRE, 16.0 * CENTIMETRE), 10.0),
}


def width_and_size(venue: str, columns: int) -> tuple[float, float]:
    r"""Width of a figure and size of its font, both in points.

    Widths come from the venues' style files for LaTeX: icml2025.sty (\textwidth 6.75in,
    \columnsep 0.25in), neurips_2024.sty and iclr2025_conference.sty (one column of 5.5in), acl.sty
    (16 cm, \columnsep 0.6 cm); font sizes are those of their captions.

    Args:
        venue: one of `VENUES`, in upper or lower case.
        columns: how many columns of the page the figure spans.

    Returns:
        Width and font size.

    Raises:
        ValueError: for another venue, or more columns than its page has.
    """
    known = VENUES.get(venue.lower())
    if known is None:
        raise ValueError(f"venue got {venue!r}; expected one of {', '.join(VENUES)}; choose one")
    widths = known.widths
    if columns not in range(1, len(widths) + 1):
        raise ValueError(
            f"columns got {columns}; expected {' or '.join(str(n + 1) for n in range(len(widths)))}, "
            f"since a page of {venue} has {'one column' if len(widths) == 1 else 'two columns'}"
        )
    return widths[columns - 1], known.caption_size
