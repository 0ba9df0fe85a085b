"""Print at the end how many wrong answers the checkers refused."""

from tests.lab.checks.cases import refused


def pytest_terminal_summary(terminalreporter) -> None:
    """Add one line to pytest's closing summary."""
    if refused:
        lessons = sorted({lesson.rpartition(".")[2] for lesson, _ in refused})
        terminalreporter.write_line(
            f"checkers: {len(refused)} wrong answers refused, each with its own message ({', '.join(lessons)})"
        )
