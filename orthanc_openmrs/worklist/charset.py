"""What a scanner can be sent: the characters of its encoding.

Decides: which characters an encoding of Orthanc's holds, and how a value is written with
those alone. Orthanc turns an answer into its `DefaultEncoding`, and drops what that can't
hold, so such text is transliterated first. Must not know: items, queries, bytes of DICOM.
"""

import unicodedata

from anyascii import anyascii

from orthanc_openmrs.worklist.values import PN_COMPONENT_GROUP, cut

CODECS = {
    # Orthanc's "DefaultEncoding" → Python's codec for the characters that it holds. Orthanc knows
    # Windows1251 too, but DICOM doesn't: every query fails with it.
    "Ascii": "ascii",
    "Utf8": "utf-8",
    "Latin1": "iso8859-1",
    "Latin2": "iso8859-2",
    "Latin3": "iso8859-3",
    "Latin4": "iso8859-4",
    "Latin5": "iso8859-9",
    "Cyrillic": "iso8859-5",
    "Arabic": "iso8859-6",
    "Greek": "iso8859-7",
    "Hebrew": "iso8859-8",
    "Thai": "iso8859-11",
    "Japanese": "shift_jis",
    "Chinese": "gb18030",
    "JapaneseKanji": "iso2022_jp",
    "Korean": "euc_kr",
    "SimplifiedChinese": "gb2312",
}

_MAX_LENGTH = {"LO": 64, "PN": PN_COMPONENT_GROUP, "SH": 16}
_TEXT_VRS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))


STATION_CHARSETS = {name.lower(): codec for name, codec in CODECS.items()} | {
    codec: codec for codec in ("shift_jis", "euc_kr", "gb2312", "gb18030")
}
"""`OpenMRS.Stations.….Charset` → the codec for the characters that the station can show."""


def codec_of(encoding: str) -> str | None:
    """The codec of a `DefaultEncoding`, in any spelling that Orthanc takes; None of one that
    DICOM answers can't be in."""
    return _BY_NAME.get(encoding.upper())


_BY_NAME = {name.upper(): codec for name, codec in CODECS.items()}

Codecs = tuple[str, ...]
"""What a scanner can be sent: the characters that all of these codecs hold."""

UNICODE: Codecs = ("utf-8",)


def transliterate(text: str, codecs: Codecs) -> str:
    """`text` with what the codecs can't hold in Latin letters: no letter is ever dropped."""
    for codec in codecs:
        try:
            text.encode(codec)
        except UnicodeEncodeError:
            composed = unicodedata.normalize("NFC", text)
            text = "".join(_in_codec(character, codec) for character in composed)
    return text


_DELIMITERS = str.maketrans({"\\": "/", "^": " ", "=": "-", "*": "", "?": ""})


def _in_codec(character: str, codec: str) -> str:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        latin = anyascii(character).translate(_DELIMITERS)
        if latin or not unicodedata.category(character).startswith("L"):
            return latin  # a mark without a letter of its own may go
        # A letter may not: anyascii leaves out the Arabic alef, whose name begins with its sound.
        return unicodedata.name(character, "x").rpartition(" ")[2][0].lower()
    return character


def sent(vr: str, text: str, codecs: Codecs) -> str:
    """A value as it is sent to a scanner that takes the characters of these codecs."""
    if vr not in _TEXT_VRS or codecs == UNICODE or text.isascii():
        return text
    return cut(transliterate(text, codecs), _MAX_LENGTH.get(vr, len(text)))


def is_legible(text: str) -> bool:
    """Whether something of a text is left for every scanner: a letter or a digit, in Latin at
    least. Of "؟ ؟", or of a lone accent, nothing is."""
    return any(mark.isalnum() for mark in transliterate(text, ("ascii",)))


def without_undeclared(text: str) -> str:
    """What is left of a text in ISO 8859-1 that Orthanc took for UTF-8: a byte that begins
    nothing goes, and one that begins something takes the next with it."""
    found = bytearray()
    waiting = 0
    for byte in text.encode("latin-1", "replace"):
        if waiting:
            waiting = 0
        elif byte < 0x80:
            found.append(byte)
        elif 0xC0 <= byte < 0xF8:
            waiting = 1
    return found.decode()
