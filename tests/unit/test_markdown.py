"""Names and reasons in Markdown: they stay plain text, and ordinary names stay readable."""

from __future__ import annotations

import pytest

from roost.tasks.markdown import escaped, table


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("![x](https://evil/p.png)", r"!\[x\](https://evil/p.png)"),
        ("<img src=x onerror=y>", r"\<img src=x onerror=y\>"),
        ("<!channel> @all &lt;", r"\<!channel\> \@all \&lt;"),
        ("# heading", r"\# heading"),
        ("a\n# heading", r"a \# heading"),
        ("_a_ *b* `c` ~d~ |", r"\_a\_ \*b\* \`c\` \~d\~ \|"),
    ],
)
def test_what_markdown_reads_is_escaped(name: str, shown: str) -> None:
    assert escaped(name) == shown


@pytest.mark.parametrize("name", ["my_notes.md", "C#/a.md", "rows.csv#12", "nDCG@10", "a-b (1).pdf", "it's ok!"])
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert escaped(name) == name


def test_a_cell_is_one_line_of_bounded_length() -> None:
    row = table(("a",), [("x\n| y" + "z" * 500,)]).splitlines()[2]
    assert row.startswith(r"| x \| yzzz")
    assert len(row) < 170
