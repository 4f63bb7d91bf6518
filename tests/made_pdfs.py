"""PDFs made on the spot: two columns, ruled tables, headers and footers, and the same pages as pictures."""

from __future__ import annotations

import random

from fpdf import FPDF

WORDS = (
    *("herring", "harbour", "lantern", "ferry", "morning", "captain", "weather", "island", "bridge", "signal"),
    *("rope", "engine", "market", "winter", "storm", "letter", "garden", "window", "summer", "valley", "record"),
    *("number", "answer", "village", "schedule", "station", "passenger", "ticket"),
)


def prose(count: int, seed: int = 1) -> str:
    """Sentences of made text, `count` words in all."""
    chance = random.Random(seed)
    words = [chance.choice(WORDS) for _ in range(count)]
    return " ".join(
        f"{word.capitalize()}" if n % 9 == 0 else f"{word}{'.' * (n % 9 == 8)}" for n, word in enumerate(words)
    )


def lines_of(text: str, letters: int) -> list[str]:
    """The text in lines of at most so many letters."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def two_columns(left: str, right: str, *, title: str = "", interleaved: bool = False, shift: float = 0.0) -> bytes:
    """A page in two columns under a title over both.

    interleaved: Drawn line by line across both columns, not column by column.
    shift: By how much the right column's lines are lower, mm.
    """
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("helvetica", size=18)
    if title:
        pdf.text(20, 20, title)
    pdf.set_font("helvetica", size=10)
    places = [(20, 35 + 5 * n, line) for n, line in enumerate(lines_of(left, 42))]
    others = [(110, 35 + shift + 5 * n, line) for n, line in enumerate(lines_of(right, 42))]
    order = sorted(places + others, key=lambda one: (one[1], one[0])) if interleaved else places + others
    for x, y, line in order:
        pdf.text(x, y, line)
    return bytes(pdf.output())


TABLE = [
    ["Station", "Height", "Wind", "Rain", "Snow", "Fog", "Sun", "Frost"],
    ["North ridge", "1,204", "31", "812", "140", "77", "1,510", "122"],
    ["Harbour", "4", "22", "640", "12", "91", "1,702", "31"],
    ["Upper hut", "986", "28", "790", "118", "60", "1,544", "109"],
    ["Lighthouse", "37", "35", "588", "9", "103", "1,688", "24"],
]


def ruled_table(rows: list[list[str]] | None = None, *, before: str = "", after: str = "") -> bytes:
    """A page with a table with lines around all of its cells, between two paragraphs."""
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("helvetica", size=10)
    if before:
        pdf.multi_cell(0, text=before, new_x="LMARGIN", new_y="NEXT")
    with pdf.table(text_align="LEFT") as table:
        for cells in rows or TABLE:
            row = table.row()
            for cell in cells:
                row.cell(cell)
    if after:
        pdf.multi_cell(0, text=after)
    return bytes(pdf.output())


def running_pages(pages: list[str], *, header: str, footer: str) -> bytes:
    """Pages with a header and a footer; `{page}` in them is the page's number."""
    pdf = FPDF()
    pdf.set_auto_page_break(False)
    for number, text in enumerate(pages, start=1):
        pdf.add_page()
        pdf.set_font("helvetica", size=9)
        pdf.text(20, 10, header.format(page=number))
        pdf.set_font("helvetica", size=11)
        pdf.set_xy(20, 25)
        pdf.multi_cell(160, text=text)
        pdf.set_font("helvetica", size=9)
        pdf.text(20, 288, footer.format(page=number))
    return bytes(pdf.output())


def character_error(found: str, expected: str) -> float:
    """Share of characters, blanks aside, that must be changed to make one text of the other."""
    one, other = "".join(found.split()), "".join(expected.split())
    previous = list(range(len(other) + 1))
    for n, letter in enumerate(one, start=1):
        current = [n]
        for m, mine in enumerate(other, start=1):
            current.append(min(previous[m] + 1, current[-1] + 1, previous[m - 1] + (letter != mine)))
        previous = current
    return previous[-1] / max(1, len(other))


def as_scan(data: bytes, resolution: int = 200) -> bytes:
    """The same pages as pictures, without text."""
    import pypdfium2

    document = pypdfium2.PdfDocument(data)
    pdf = FPDF(unit="pt")
    for page in document:
        width, height = page.get_size()
        pdf.add_page(format=(width, height))
        pdf.image(page.render(scale=resolution / 72).to_pil(), 0, 0, width, height)
    document.close()
    return bytes(pdf.output())
