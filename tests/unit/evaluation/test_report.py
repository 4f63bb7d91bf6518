"""The report of an evaluation shows what documents say, and does nothing that they say."""

from __future__ import annotations

import pytest

from roost.tasks.evaluation.report import _answers, table, verdict_of


@pytest.mark.parametrize(
    ("evil", "shown"),
    [
        ("![x](http://evil/pixel.png)", r"\!\[x\](http://evil/pixel.png)"),
        ("<img src=x>", r"\<img src=x\>"),
        ("# a **b** | `c` _d_ \\", r"\# a \*\*b\*\* \| \`c\` \_d\_ " + r"\\"),
    ],
)
def test_text_of_documents_and_answers_is_shown_as_it_is(evil, shown):
    assert table(("question",), [(evil,)]).splitlines()[2] == f"| {shown} |"
    told = _answers({"answers": [{"question": evil, "answer": evil, "error": "", "passages": [evil]}]})
    assert told == f"**{shown}**\n\n{shown}\n\n- {shown}"


def test_the_head_of_a_table_stays_one():
    assert table(("a", "b"), [(1, 2)]) == "| a | b |\n| :-- | --: |\n| 1 | 2 |"


def test_the_verdict_is_passed_only_where_something_was_held_to():
    assert [verdict_of([], asked=False), verdict_of([], asked=True), verdict_of(["x"], asked=True)] == [
        "measured", "passed", "missed",
    ]  # fmt: skip
