"""Tables and JSON as people and their programs write them: read rightly, or refused by name."""

import os
from pathlib import Path

import pytest

from cytopipe.files import InputError
from cytopipe.formats.text import finite, flag, positive, read_json, read_table, whole

HEAD = "section\timage\tmirrored\n"


def cells(path: Path, text: str | bytes, **options) -> list[tuple[str, ...]]:
    """The cells of each row in the order of the columns section, image, mirrored."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    rows = read_table(path, ("section", "image"), ("mirrored",), **options)
    return [(row["section"], row["image"], row["mirrored"]) for _, row in rows]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("15\ta.tif\tyes\n", ("15", "a.tif", "yes")),
        ("15\ta.tif\n", ("15", "a.tif", "")),
        ("15\ta.tif\t\t\t\n", ("15", "a.tif", "")),
        ('15\t"a.tif"\tyes\n', ("15", "a.tif", "yes")),
        ('15\t"a ""b"".tif"\tyes\n', ("15", 'a "b".tif', "yes")),
        ('15\t"odd" name\tyes\n', ("15", "odd name", "yes")),
        ('15\t5" wide\tyes\n', ("15", '5" wide', "yes")),
        ('15\t"torn\r\nin two"\tyes\r\n', ("15", "torn in two", "yes")),
        ('15\t"torn\n\n# in two"\tyes\n', ("15", "torn # in two", "yes")),
        # these are line breaks only for Python's splitlines
        ("15\ta\u2028b\x85c\tyes\n", ("15", "a\u2028b\x85c", "yes")),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_row_is_read_as_a_spreadsheet_reads_it(
    tmp_path: Path, text: str, row: tuple[str, ...], end: str
) -> None:
    lines = (HEAD + "# a note\n\t\t\n" + text + "30\tb.tif\tno\n").replace("\r\n", "\n")
    written = lines.replace("\n", end)
    assert cells(tmp_path / "a.tsv", written) == [row, ("30", "b.tif", "no")]
    assert cells(tmp_path / "a.tsv", b"\xef\xbb\xbf" + written.encode())[0] == row


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('15\t"a.tif\tyes\n30\tb.tif\tno\n', "line 2: its cells cannot .*quotation mark"),
        ('15\ta.tif\t"yes\n30\tb.tif\tno\n', "line 2: its cells"),
        ('15\t"a.tif\tyes\n30\tb".tif\tno\n', "line 2: its cells"),
        ('15\ta.tif\tyes\n30\tb.tif\t"no', "line 3: its cells"),
        ("15\ta.tif\tyes\t7\n", "line 2: 4 cells under 3 columns; remove a tab"),
        ("15\t" + "a" * 1_000_000 + "\tyes\n", "line 2: its cells .*field limit"),
        ("15\t" + "a" * 40_000 + "\tyes\n", "line 2: its cells"),
        ("15\ta\x00.tif\tyes\n", "control character"),
        ("15\ta\x0b.tif\tyes\n", "control character"),
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        cells(tmp_path / "a.tsv", HEAD + text)
    assert "a.tsv" in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-32", "mac-roman"])
def test_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    content = (HEAD + "15\tgroß.tif\tyes\n").encode(encoding)
    with pytest.raises(InputError, match=r"a\.tsv: not a text file in UTF-8 .*save it as text"):
        cells(tmp_path / "a.tsv", content)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('Image,Section,stain\n"a, left.tif",15,x\n', [("15", "a, left.tif", "")]),
        ('Image;Section\n"a\nb.tif";15\n#1.t;30\n', [("15", "a b.tif", ""), ("30", "#1.t", "")]),
        ("SECTION\tMirrored\timage\n15\tyes\ta,b.tif\n", [("15", "a,b.tif", "yes")]),
    ],
)  # fmt: skip
def test_tables_of_other_programs(tmp_path: Path, text: str, rows: list[tuple[str, ...]]) -> None:
    assert cells(tmp_path / "a.csv", text, separators="\t;,", is_foreign=True) == rows


@pytest.mark.parametrize(
    "text",
    [
        'section,image\n15,"a.tif,x\n',
        'section,image\n15,"a.tif\n30,b.tif"\n',
        'section,image,stain\n15,"a,"b,x\n',
        "section,image\n15,a.tif,7\n",
        "section,image,mirrored,Mirrored\n15,a.tif,yes,no\n",
        "section,photo\n15,a.tif\n",
        "\n",
        "",
    ],
)
def test_tables_of_other_programs_that_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"a\.csv"):
        cells(tmp_path / "a.csv", text, separators="\t;,", is_foreign=True)


def test_numbers_are_plain() -> None:
    assert [finite(text, "x") for text in ("5", "-0.5", ".5", "1e3", "+2.")] == [
        5,
        -0.5,
        0.5,
        1e3,
        2,
    ]
    for text in ("0_5", "nan", "inf", "1e999", "0x10", "٣", "", " 5", "1,5", "5 um"):
        with pytest.raises(InputError, match=r"x is .*; give a number"):
            finite(text, "x")
    assert [whole(text, "x") for text in ("0", "12", "007", "12.0")] == [0, 12, 7, 12]
    for text in ("12_1", "-1", "1.5", "²", "9007199254740993", "1e2", "", "nan"):
        with pytest.raises(InputError, match=r"x is .*; give a whole number"):
            whole(text, "x")
    assert positive("3", "x") == 3
    with pytest.raises(InputError, match="give a positive number"):
        positive("-3", "x")
    assert [flag(text, "x") for text in ("", "YES", "0")] == [None, True, False]
    with pytest.raises(InputError, match="use yes or no"):
        flag("y", "x")


def test_what_is_not_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tsv")
    (tmp_path / "b.tsv").mkdir()
    for name in ("a.tsv", "b.tsv"):
        with pytest.raises(InputError, match=rf"{name}: is not a file"):
            read_table(tmp_path / name, ("section",))


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": [1, NaN]}')
    assert read_json(path, "")["a"][0] == 1
    for content in (b'{"a": 1, "a": 2}', b"[" * 100_000, b"", b'{"a": "\xe4"}', b"1" * 5000):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.json: not a "):
            read_json(path, "save it again")
