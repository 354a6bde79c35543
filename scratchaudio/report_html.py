"""Pieces of HTML for `report`: words with a small markup, tables, pictures.

Every function takes what the author of a page gave and returns HTML in which all of it is
escaped. The markup: an empty line starts a new paragraph, lines that start with "- " are a list,
and **bold**, `code` and [links](https://example.org) are what they look like.
"""

import base64
import html
import io
import math
import re

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError

SVG_LIMIT = 400_000  # bytes; a picture larger than this is smaller, and drawn faster, in pixels
PIXELS_PER_INCH = 192  # two for each pixel of CSS: sharp on a good screen

# Words -------------------------------------------------------------------------------------------

_MARKUP = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\*\*(?P<bold>.+?)\*\*"
    r"|\[(?P<words>[^\]]+)\]\((?P<address>(?:https?://|#)[^\s)]+)\)"
)


def paragraphs(text):
    """Markup -> <p> and <ul>."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines()]
        if all(line.startswith("- ") for line in lines):
            items = "\n".join(f"<li>{inline(line[2:])}</li>" for line in lines)
            blocks.append(f"<ul>\n{items}\n</ul>")
        else:
            blocks.append(f"<p>{inline(' '.join(lines))}</p>")
    return "\n".join(blocks)


def inline(text):
    """Escape, then turn `code`, **bold** and [links](...) into elements."""

    def element(match):
        if match["code"]:
            return f"<code>{match['code']}</code>"
        if match["bold"]:
            return f"<strong>{_MARKUP.sub(element, match['bold'])}</strong>"
        return f'<a href="{match["address"]}">{match["words"]}</a>'

    return _MARKUP.sub(element, html.escape(text))


def attribute(text):
    """Text for an attribute: markup signs dropped, escaped."""
    plain = _MARKUP.sub(lambda match: match["code"] or match["bold"] or match["words"], text)
    return html.escape(plain)


def require_text(name, text):
    """Return `text`; raise `ConfigError` unless it is a string that says something."""
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{name} must be a string that is not empty, got {text!r}")
    return text


# Tables ------------------------------------------------------------------------------------------


def table(rows, header, caption, best=None, digits=3, extra=""):
    """Return a table in a card; `Report.table` explains the arguments.

    `extra` are further attributes of the card.
    """
    require_text("caption", caption)
    rows, header, best = [list(row) for row in rows], list(header), best or {}
    if not header:
        raise ShapeError(f"header of table {caption!r} must name at least one column, got none")
    for index, row in enumerate(rows):
        if len(row) != len(header):
            raise ShapeError(
                f"rows[{index}] of table {caption!r} has {len(row)} cells, "
                f"header has {len(header)}: {header}"
            )
    texts = [[_cell_text(cell, digits) for cell in row] for row in rows]
    best_texts = {
        name: _cell_text(choose(_numbers(rows, header, name, caption)), digits)
        for name, choose in best.items()
    }
    return (
        f'<div class="card table scroll" role="group" aria-label="{attribute(caption)}"{extra}>\n'
        f"<table>\n<caption>{inline(caption)}</caption>\n"
        f"{_table_rows(texts, header, best_texts)}\n</table>\n</div>"
    )


def _table_rows(texts, header, best_texts):
    """The head and the body of a table of strings."""
    # Numbers stand below each other digit by digit only when they are aligned to the right.
    number = re.compile(r"[-+\u2212]?(\.?\d|\u221e)|\u2013$|$")
    css = [
        ' class="number"' if j > 0 and all(number.match(row[j]) for row in texts) else ""
        for j in range(len(header))
    ]
    names = [f'<th scope="col"{css[j]}>{inline(name)}</th>' for j, name in enumerate(header)]
    lines = ["<thead><tr>" + "".join(names) + "</tr></thead>", "<tbody>"]
    for row in texts:
        cells = [f'<th scope="row">{inline(row[0])}</th>']
        for j, text in enumerate(row[1:], start=1):
            is_best = best_texts.get(header[j]) == text
            content = f"<strong>{inline(text)}</strong>" if is_best else inline(text)
            cells.append(f"<td{css[j]}>{content}</td>")
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return "\n".join([*lines, "</tbody>"])


def _cell_text(cell, digits):
    """A number or a string -> what stands in the table; what is not a number is a dash."""
    if isinstance(cell, str):
        return cell
    if cell is None or cell != cell:
        return "\u2013"
    if isinstance(cell, float | np.floating):
        if math.isinf(cell):
            return "\u221e" if cell > 0 else "\u2212\u221e"
        return f"{cell:.{digits}f}".replace("-", "\u2212")
    return str(cell).replace("-", "\u2212")


def _numbers(rows, header, name, caption):
    """The numbers of the column that `best` names."""
    if name not in header:
        raise ConfigError(f"best names {name!r}, but the columns of {caption!r} are {header}")
    cells = [row[header.index(name)] for row in rows]
    numbers = [cell for cell in cells if isinstance(cell, int | float | np.number) and cell == cell]
    if not numbers:
        raise ConfigError(f"best names {name!r}, a column of table {caption!r} without numbers")
    return numbers


# Pictures ----------------------------------------------------------------------------------------


def pictures(figures, alts, captions, limit=SVG_LIMIT, pixels="png", extra=None):
    """Return each matplotlib figure as an <img> on white paper, all of them cut to one frame.

    Parameters
    ----------
    figures : list of matplotlib Figures, or Axes, which stand for the whole figure they are in
    alts : list of str, what someone who cannot see it should know
    captions : list of str, the name of the paper
    limit : bytes; a figure whose SVG is larger is stored in pixels
    pixels : "png", or "webp", which makes a spectrogram several times smaller and is not exact
    extra : list of str, further attributes of each paper
    """
    import matplotlib
    from matplotlib.transforms import Bbox

    figures = [_require_figure(figure) for figure in figures]
    for alt, caption in zip(alts, captions, strict=True):
        if not isinstance(alt, str) or not alt.strip():
            raise ConfigError(
                f"alt of figure {caption!r} must say in words what the figure shows, got {alt!r}"
            )
    boxes = []
    for figure in figures:
        figure.draw_without_rendering()
        boxes.append(figure.get_tightbbox().padded(0.08))  # inches
    frame = Bbox.union(boxes)
    width, height = round(96 * frame.width), round(96 * frame.height)  # pixels of CSS
    # A fixed salt and no date: the same figure gives the same bytes.
    settings = {"svg.hashsalt": "scratchaudio", "svg.fonttype": "path"}
    with matplotlib.rc_context(settings):
        sources = [_picture(figure, frame, limit, pixels) for figure in figures]
    return [
        f'<div class="paper scroll" role="group" aria-label="{attribute(caption)}"{more}>'
        f'<img src="{source}" alt="{attribute(alt)}" width="{width}" height="{height}" '
        f'style="--width: {width}px"></div>'
        for source, alt, caption, more in zip(
            sources, alts, captions, extra or [""] * len(sources), strict=True
        )
    ]


def _require_figure(figure):
    """Return the Figure; Axes know theirs."""
    figure = getattr(figure, "figure", figure)
    if not hasattr(figure, "savefig"):
        raise ConfigError(
            f"figure must be a matplotlib Figure or Axes, got {type(figure).__name__}"
        )
    return figure


def _picture(figure, frame, limit, pixels):
    """Draw what lies in the frame (inches); return it as a data URI."""
    options = {"bbox_inches": frame, "dpi": PIXELS_PER_INCH, "facecolor": "white"}
    svg, image = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None}, **options)
    if svg.tell() <= limit:
        return data_uri("image/svg+xml", svg.getvalue())
    quality = {"pil_kwargs": {"quality": 60}} if pixels == "webp" else {}
    figure.savefig(image, format=pixels, **options, **quality)
    return data_uri(f"image/{pixels}", image.getvalue())


def data_uri(kind, data):
    """Return bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
