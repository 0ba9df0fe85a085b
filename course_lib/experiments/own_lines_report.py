"""The report card's section on whose lines a run was made of, the learner's or the library's."""

from pathlib import Path

from course_lib.experiments.run import DATA_VERSION
from course_lib.files import markdown_table, read_json


def read_own_lines(folder: Path) -> dict:
    """Read what a run on one's own lines has left: `{"mine": rows}`, or nothing of any other."""
    file = folder / "mine/report.json"
    return {"mine": read_json(file, "data", DATA_VERSION)} if file.exists() else {}


def own_lines_section(runs: list[dict]) -> str:
    """Say for each seed which parts were the learner's to the end, and show those of the first."""
    lines = [f"- Seed {run['seed']}: {own_lines_of_run(run['mine'])}" for run in runs]
    rows = [own_line_row(row) for row in runs[0]["mine"]]
    header = ["lesson", "exercise", "in place of", "whose", "lines", "calls", "time"]
    note = (
        "\n\n*time* is what the place in the library took, by the time of the library's own code"
        " on the same arguments, side by side in the run. Sums and chats are measured by the"
        " library, whoever's lines made the models."
    )
    return "\n".join(lines) + "\n\n" + markdown_table(header, rows) + note


def own_lines_of_run(rows: list[dict]) -> str:
    """Sum up a run in a sentence, and give the reason for each part that was handed back."""
    kept = [row for row in rows if row["calls"] and not row["handed back"]]
    n_lines = sum(row["lines"] for row in kept)
    text = f"{len(kept)} of {len(rows)} parts were your own to the end, {n_lines} lines of code."
    back = [f"`{row['exercise']}`: {row['handed back']}" for row in rows if row["handed back"]]
    return text + (" Handed back: " + "; ".join(back) + "." if back else "")


def own_line_row(row: dict) -> list[str]:
    """Write a row of the table: the exercise by its name, the place by its last two names."""
    whose = "yours" if row["lines"] else "library"
    if row["handed back"]:
        whose = "handed back"
    places = ", ".join(f"`{'.'.join(place.split('.')[-2:])}`" for place in row["places"])
    return [
        row["lesson"],
        row["exercise"].split(".")[1],
        places,
        whose,
        str(row["lines"] or ""),
        f"{row['calls']:,}" if row["calls"] else "",
        f"{row['ratio']:.1f}" if row["ratio"] else "",
    ]
