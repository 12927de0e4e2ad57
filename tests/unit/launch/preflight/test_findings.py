"""Findings and checks: none ends another, none waits without end, each says what to do."""

import threading

from launch.preflight.findings import (
    Check,
    as_report,
    counted,
    lines_of,
    ok,
    problem,
    refusal,
    run_check,
    run_checks,
    shown_bytes,
)
from pipeline.errors import InputError


def fail():
    yield ok("first", "was looked at")
    raise ZeroDivisionError("one of ours\nsecond line")


def refuse():
    raise InputError("port (1) must be free; close it; or take 2")


def test_a_check_that_raises_is_a_problem_and_the_others_go_on() -> None:
    checks = [Check("a", fail), Check("b", refuse), Check("c", lambda: [ok("c", "fine")])]
    found = list(run_checks(checks))
    assert [(each.check, each.state) for each in found] == [
        ("first", "ok"),
        ("a", "problem"),
        ("b", "problem"),
        ("c", "ok"),
    ]
    assert found[1].found == "ZeroDivisionError: one of ours"
    assert found[1].remedy


def test_a_check_that_hangs_is_a_problem_and_what_it_found_stays() -> None:
    held = threading.Event()

    def hang():
        yield ok("slow", "this much")
        held.wait()

    found = run_check(Check("slow", hang, limit_s=0.2))
    held.set()
    assert [each.state for each in found] == ["ok", "problem"]
    assert "no answer within 0.2 s" in found[1].found


def test_the_last_clause_of_a_refusal_is_its_remedy() -> None:
    found = refusal("b", "port (1) must be free; close it; or take 2")
    assert (found.found, found.remedy) == ("port (1) must be free; close it", "or take 2")
    assert refusal("b", "no clause").remedy


def test_a_finding_is_a_line_and_a_remedy() -> None:
    assert lines_of(problem("port", "taken\nby 7", "free it\nor not"), width=6) == [
        "[problem] port    taken",
        "                  by 7",
        "                  -> free it",
        "                     or not",
    ]
    assert lines_of(ok("port", "free"), width=6) == ["[ok]      port    free"]


def test_the_report_counts_states() -> None:
    report = as_report([ok("a", "x"), problem("b", "y", "z"), problem("b", "y", "z")])
    assert (report["ok"], report["warning"], report["problem"]) == (1, 0, 2)
    assert report["findings"][1] == {"check": "b", "state": "problem", "found": "y", "remedy": "z"}


def test_numbers_for_people() -> None:
    assert [shown_bytes(n) for n in (0, 1536, 5 * 2**20, 3 * 2**30, 3 * 2**40)] == [
        *("0 KiB", "1.5 KiB", "5 MiB", "3 GiB", "3 TiB")
    ]
    assert shown_bytes(1023.9 * 2**20) == "1,024 MiB"
    assert [counted(1, "node"), counted(0, "node"), counted(2000, "node")] == [
        *("1 node", "0 nodes", "2,000 nodes")
    ]
