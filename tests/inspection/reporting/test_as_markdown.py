from sktransfer.inspection.reporting.as_markdown import as_markdown
from sktransfer.inspection.reporting.blocks import Blank, Cell, Document, Section, Table, Text


def rendered(*blocks):
    return as_markdown(
        Document("A title", [("0.5", "accuracy")], [Section("s", "Scores", list(blocks))])
    )


def test_tables():
    text = rendered(Table(["class", "recall"], [["ant", Cell(0.25)], ["bee", None]], "A caption."))
    assert "A caption.\n\n| class | recall |\n| --- | --- |\n| ant | 0.250 |\n| bee | - |" in text
    assert text.startswith("# A title\n\n- accuracy: 0.5\n")
    assert "## Scores" in text


def test_labels_stay_text():
    text = rendered(
        Table(["<b>"], [["a|b"], ["[x](http://y)"], ["two\nlines"]], "*no emphasis*"),
        Text("<script>", is_warning=True),
    )
    assert r"\<b\>" in text
    assert r"| a\|b |" in text
    assert r"\[x\](http://y)" in text
    assert "| two lines |" in text
    assert r"**Note:** \<script\>" in text


def test_blanks_show_what_belongs_there():
    assert "**Limits:** (What fails?)" in rendered(Blank("limits", "", "What fails?"))
    assert "**Limits:** snow" in rendered(Blank("limits", "snow", "What fails?"))
