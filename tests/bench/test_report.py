"""The table of figures, on the terminal and in the README."""

import pytest

from bench.report import (
    BEGIN,
    END,
    Figure,
    as_markdown,
    as_text,
    at_least,
    at_most,
    write_readme,
)

FAST = at_least("commits", 612.4, 500, "/s", digits=0)
SLOW = at_most("a look", 3.21, 3, "times", digits=2, ratio="1.2 : 0.4 ms")


def test_a_figure_says_whether_its_bar_is_met():
    assert (FAST.figure, FAST.bar, FAST.ok) == ("612 /s", ">= 500 /s", True)
    assert (SLOW.figure, SLOW.bar, SLOW.ok) == ("3.21 times", "<= 3 times", False)


def test_the_table_on_a_terminal_lines_up_and_names_what_is_missed():
    head, first, second, third = as_text([FAST, SLOW, Figure("by the way", "7")]).split(
        "\n"
    )
    assert head.split() == ["what", "figure", "bar", "ratio"]
    assert first.endswith("ok")
    assert second.endswith("MISSED")
    assert third.split("  ")[0] == "by the way"
    assert first.index("612 /s") + len("612 /s") == second.index("times") + len("times")


def test_the_readme_keeps_everything_around_the_table(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nlast month's\n{END}\nafter\n")
    write_readme(readme, as_markdown([FAST, SLOW], "On 2 cores."))
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| what |")
    assert "| commits | 612 /s | ≥ 500 /s |  | ok |" in text
    assert text.endswith(f"On 2 cores.\n{END}\nafter\n")
    assert "last month's" not in text


def test_a_readme_without_the_markers_is_left_alone_and_says_what_is_wanted(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"{END} {BEGIN}")
    with pytest.raises(ValueError, match=f"wanted the lines {BEGIN} and {END}"):
        write_readme(readme, "table")
    assert readme.read_text() == f"{END} {BEGIN}"
