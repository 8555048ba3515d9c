"""The plain text of an email, as a mail program shows it."""

from __future__ import annotations

from mbi_reauth.notifications.rendering import WIDTH, render, wrapped

ADDRESS = "https://airflow.example.com/a-very-long-path/connections?name_pattern=" + "a-b" * 30


def test_long_lines_are_broken_between_words() -> None:
    lines = wrapped("word " * 40).splitlines()
    assert len(lines) > 1
    assert all(len(line) <= WIDTH for line in lines)
    assert " ".join(lines).split() == ["word"] * 40


def test_an_address_is_never_broken() -> None:
    assert ADDRESS in wrapped(f"Open {ADDRESS} and sign in").splitlines()


def test_the_lines_of_a_step_stand_under_each_other() -> None:
    first, *others = wrapped("word " * 40, "1. ", "   ").splitlines()
    assert first.startswith("1. word")
    assert all(line.startswith("   word") for line in others)


def test_only_the_html_has_tags() -> None:
    values = {
        "subject": "s",
        "matters": [],
    }
    assert "<h1" in render("html", "engineer.jinja", "en", values)
    assert "<" not in render("text", "engineer.jinja", "en", values)
