"""The table of faults in docs/reliability.md names each test, and no other."""

import ast
import re
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"
FAULTS = range(1, 73)


def named_tests():
    """The names of the tests of each fault, by its number."""
    found = defaultdict(set)
    for path in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (
                match := re.match(r"test_fault_(\d\d)_", node.name)
            ):
                assert node.name not in found[int(match[1])], f"two tests are named {node.name}"
                found[int(match[1])].add(node.name)
    return dict(found)


def test_every_fault_has_its_test():
    assert sorted(named_tests()) == [*FAULTS]


def test_the_table_in_the_docs_names_the_tests():
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", PAGE.read_text(), flags=re.MULTILINE)
    assert [int(number) for number, _ in rows] == [*FAULTS]
    named = {int(number): set(re.findall(r"`(\w+)`", tests)) for number, tests in rows}
    assert named == named_tests()
