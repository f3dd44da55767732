"""What browsers and clients say of a file's name, each in its own way."""

import pytest

from ingest_server.protocols.disposition import file_name, name_in, parameters, text_of

CODECS = [
    "idna",
    "undefined",
    "punycode",
    "utf-7",
    "unicode_escape",
    "zlib",
    "rot13",
    "utf-16",
    "charmap",
    "mbcs",
    "hex",
    "x",
]


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ('attachment; filename="clip.mp4"', "clip.mp4"),
        ("attachment; filename=clip.mp4", "clip.mp4"),
        ("ATTACHMENT ; FILENAME = clip.mp4 ; size=5", "clip.mp4"),
        ('inline; filename="a;b=\\"c\\".mp4"', 'a;b="c".mp4'),
        ("attachment; filename*=UTF-8''%e2%82%ac.mp4", "\u20ac.mp4"),
        ("attachment; filename*=iso-8859-1'en'%a3.mp4; filename=x", "\u00a3.mp4"),
        ("attachment; filename=plain; filename*=UTF-8''rich", "rich"),
        ("attachment; filename=plain; filename*=UTF-8''%ff", "plain"),
        ('attachment; filename="\u00c3\u00bc.mp4"', "\u00fc.mp4"),
        ('attachment; filename="\u00fc.mp4"', "\u00fc.mp4"),
        ('attachment; filename="C:\\new\\clip.mp4"', "C:\\new\\clip.mp4"),
        ("attachment; filename=a; filename=b", "a"),
        ('attachment; filename="open', "open"),
        ("attachment; filename*0=a; filename*1=b", None),
        ("attachment; x; ; =y; filename=b", "b"),
        ("attachment", None),
        ("", None),
    ],
)
def test_a_files_name_is_read_as_its_rfc_says(field, name):
    assert file_name(field) == name


@pytest.mark.parametrize("codec", CODECS)
def test_no_codec_that_a_client_names_is_tried(codec):
    assert file_name(f"attachment; filename*={codec}''%FF%80abc-.mp4; filename=plain") == "plain"


def test_no_field_is_no_name():
    assert file_name(None) is None


@pytest.mark.parametrize(
    ("raw", "text"), [(b"\xc3\xa9", "\u00e9"), (b"\xe9", "\u00e9"), (b"\xff", "\u00ff")]
)
def test_a_name_of_an_old_page_is_taken_as_its_latin_1(raw, text):
    assert text_of(raw) == text
    assert name_in(parameters(b'form-data; name="\xe9"; filename="' + raw + b'"')) == text
