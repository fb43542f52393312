from sktransfer._common.text_table import aligned


def test_columns_are_as_wide_as_their_widest_cell():
    assert aligned([["a", "heading"], ["long", "x"]]) == ["a     heading", "long  x"]


def test_columns_without_a_value_are_left_out():
    assert aligned([["a", "b", "c"], ["1", "", "3"]]) == ["a  c", "1  3"]
