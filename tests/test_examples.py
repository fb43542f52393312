"""The examples run."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
OUTPUTS = {
    "grid_search_depth.py": "grid_search_depth.png",
    "images_and_table.py": "images_and_table.png",
    "label_first.py": "label_first.png",
    "report.py": "report.html",
    "which_backbone.py": "which_backbone.png",
    "which_view.py": "which_view.png",
}
# What an example needs besides the test dependencies.
NEEDS = {"label_first.py": "skactiveml"}
# CI runs the quick start; test_serving.py runs the service, which would not end by itself.
ELSEWHERE = {"quickstart.py", "serve.py"}
SCRIPTS = sorted({path.name for path in EXAMPLES.glob("*.py")} - ELSEWHERE)


@pytest.mark.parametrize("script", SCRIPTS)
def test_example_runs(script, tmp_path):
    if script in NEEDS:
        pytest.importorskip(NEEDS[script])
    done = subprocess.run(
        [sys.executable, EXAMPLES / script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == [OUTPUTS[script]] if script in OUTPUTS else drawn == []


def test_every_example_is_in_the_readme():
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in [*SCRIPTS, *ELSEWHERE] if name not in readme] == []
