from sktransfer.inspection.reporting.blocks import Document, Section, Text


def test_sections_do_not_share_their_lists():
    one, other = Section("a", "A"), Section("b", "B")
    one.blocks.append(Text("x"))
    assert other.blocks == []
    assert Document("title", [], [one, other]).sections[0].blocks[0].text == "x"
