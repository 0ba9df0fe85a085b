#!/usr/bin/env bash
# nbgrader 0.9.6: a graded cell that writes anything to stderr, a warning for example, gets no
# points, although it raised no error. An answer that is right and warns is marked as wrong, and the
# feedback shows no fault.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} nbgrader==0.9.6
"$folder/bin/python" -W ignore - <<'END'
import nbgrader
from nbformat.v4 import new_code_cell, new_output
from nbgrader.utils import determine_grade

about = {"grade": True, "solution": False, "locked": True, "points": 3, "grade_id": "a"}
said = new_output("stream", name="stderr", text="UserWarning: to be removed\n")
quiet, warns = (
    new_code_cell("assert answer() == 1", outputs=outputs, metadata={"nbgrader": about})
    for outputs in ([], [said])
)
print("nbgrader", nbgrader.__version__)
print("(points, of) of the cell that is quiet:", determine_grade(quiet), " that warns:", determine_grade(warns))
assert (determine_grade(quiet), determine_grade(warns)) == ((3.0, 3.0), (0, 3.0))
END
