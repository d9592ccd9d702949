"""Datasets in DICOMweb's forms: the DICOM JSON Model (PS3.18 annex F), the Native DICOM Model
(PS3.19 A.1), alone or in parts (PS3.18 8.6).

Decides: which form an answer has, and what is no such form. A dataset passes as the object of the
JSON Model. Must not know: which dataset it is, where it comes from.
"""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from pydicom.datadict import keyword_for_tag

from orthanc_openmrs.rest.messages import HttpError, Request, Response

DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
MULTIPART = "multipart/related"

DEEPEST = 16
"""Sequences in sequences that are read."""

NATIVE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

Dataset = Mapping[str, Any]

_WHOLE_NUMBERS = frozenset(("IS", "SL", "SS", "SV", "UL", "US", "UV"))
_NUMBERS = frozenset(("DS", "FD", "FL"))
_NAME_PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


# --- which form ------------------------------------------------------------------------------


def _wanted(accept: str) -> list[tuple[float, str]]:
    """The forms of an Accept header, each with its weight (RFC 9110 12.5.1)."""
    found = []
    for part in re.split(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", accept):
        media, *parameters = (one.strip() for one in part.split(";"))
        values = dict(one.split("=", 1) for one in parameters if "=" in one)
        try:
            weight = float(values.get("q", "1"))
        except ValueError:
            weight = 0.0
        inside = values.get("type", "").strip('"').lower()
        name = media.lower()
        found.append((weight, f"{name} {inside}" if name == MULTIPART and inside else name))
    return sorted(found, key=lambda one: -one[0])


_FORMS = {
    "": (DICOM_JSON, False),
    "*/*": (DICOM_JSON, False),
    "application/*": (DICOM_JSON, False),
    DICOM_JSON: (DICOM_JSON, False),
    "application/json": (DICOM_JSON, False),
    DICOM_XML: (DICOM_XML, False),
    f"{MULTIPART} {DICOM_JSON}": (DICOM_JSON, True),
    f"{MULTIPART} {DICOM_XML}": (DICOM_XML, True),
    MULTIPART: (DICOM_XML, True),
}


def respond(
    datasets: Sequence[Dataset], request: Request, headers: Mapping[str, str] | None = None
) -> Response:
    """A 200 in the form that the request accepts. Raises HttpError (406)."""
    for weight, name in _wanted(request.headers.get("accept", "")):
        if weight > 0 and name in _FORMS:
            form, in_parts = _FORMS[name]
            break
    else:
        raise HttpError(
            406,
            "there is no such form of this answer",
            f"{DICOM_JSON}, {DICOM_XML}, and {MULTIPART} of both",
        )
    if form == DICOM_JSON and not in_parts:
        return Response(200, _json(list(datasets)), DICOM_JSON, headers or {})
    if form == DICOM_XML and not in_parts and len(datasets) == 1:
        return Response(200, to_xml(datasets[0]), DICOM_XML, headers or {})
    # A document of the Native DICOM Model holds one dataset, so that several are several parts.
    parts = [_json([one]) if form == DICOM_JSON else to_xml(one) for one in datasets]
    boundary = uuid.uuid4().hex
    body = b"".join(
        f"--{boundary}\r\nContent-Type: {form}\r\nContent-Length: {len(part)}\r\n\r\n".encode()
        + part
        + b"\r\n"
        for part in parts
    )
    return Response(
        200,
        body + f"--{boundary}--\r\n".encode(),
        f'{MULTIPART}; type="{form}"; boundary={boundary}',
        headers or {},
    )


def _json(datasets: list[Dataset]) -> bytes:
    return json.dumps(datasets, ensure_ascii=False).encode(errors="replace")


def body_of(request: Request) -> Dataset:
    """The dataset in a body, alone or as its only part. Raises HttpError (400, 415)."""
    media, body = request.headers.get("content-type", DICOM_JSON), request.body
    if media.split(";")[0].strip().lower() == MULTIPART:
        media, body = _only_part(media, body)
    name = media.split(";")[0].strip().lower()
    try:
        if name in (DICOM_JSON, "application/json"):
            return _from_json(body)
        if name == DICOM_XML:
            return from_xml(body)
    except _BROKEN as problem:
        raise HttpError(400, f"the body is no {name}", type(problem).__name__) from None
    raise HttpError(415, "this form isn't taken", f"{DICOM_JSON}, {DICOM_XML}")


_BROKEN = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
    ElementTree.ParseError,
)


def _only_part(media: str, body: bytes) -> tuple[str, bytes]:
    boundary = re.search(r'boundary="?([^";]+)"?', media)
    parts = body.split(b"--" + boundary[1].encode()) if boundary else []
    if len(parts) != 3 or not parts[2].startswith(b"--"):
        raise HttpError(400, "the body must have one part")
    head, _, content = parts[1].partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-type:\s*([^\r\n]+)", head)
    return (found[1].decode("latin-1") if found else ""), content.removesuffix(b"\r\n")


def _from_json(body: bytes) -> Dataset:
    document = json.loads(body)
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, dict):
        raise TypeError
    _check_depth(document, DEEPEST)
    json.dumps(document, ensure_ascii=False).encode()  # no half of a surrogate pair
    return document


def _check_depth(dataset: Any, left: int) -> None:
    if left == 0:
        raise RecursionError
    for attribute in dataset.values():
        if attribute.get("vr") == "SQ":
            for item in attribute.get("Value", ()):
                _check_depth(item, left - 1)


# --- XML -------------------------------------------------------------------------------------


def to_xml(dataset: Dataset) -> bytes:
    """A document of the Native DICOM Model."""
    root = ElementTree.Element("NativeDicomModel", {"xml:space": "preserve", "xmlns": NATIVE})
    _write(root, dataset)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _write(parent: ElementTree.Element, dataset: Dataset) -> None:
    for tag, attribute in dataset.items():
        names = {"tag": tag, "vr": attribute["vr"]}
        keyword = keyword_for_tag(int(tag, 16))
        if keyword:
            names["keyword"] = keyword
        element = ElementTree.SubElement(parent, "DicomAttribute", names)
        if "InlineBinary" in attribute:
            ElementTree.SubElement(element, "InlineBinary").text = attribute["InlineBinary"]
        for number, value in enumerate(attribute.get("Value", ()), 1):
            place = {"number": str(number)}
            if attribute["vr"] == "SQ":
                _write(ElementTree.SubElement(element, "Item", place), value or {})
            elif value is None:
                continue
            elif attribute["vr"] == "PN":
                _write_name(ElementTree.SubElement(element, "PersonName", place), value)
            else:
                ElementTree.SubElement(element, "Value", place).text = _valid(str(value))


def _write_name(parent: ElementTree.Element, name: Mapping[str, str]) -> None:
    for group in _NAME_GROUPS:
        if name.get(group):
            inside = ElementTree.SubElement(parent, group)
            for part, text in zip(_NAME_PARTS, name[group].split("^"), strict=False):
                if text:
                    ElementTree.SubElement(inside, part).text = _valid(text)


def _valid(text: str) -> str:
    """Without what XML 1.0 can't hold."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def from_xml(document: bytes) -> Dataset:
    """The dataset of a document of the Native DICOM Model. Raises ValueError, ParseError."""
    if b"<!DOCTYPE" in document or b"<!ENTITY" in document:
        raise ValueError("a document type")
    root = ElementTree.fromstring(document)  # noqa: S314 - it has no document type, so no entities
    if _name(root) != "NativeDicomModel":
        raise ValueError("another root")
    return _read(root, DEEPEST)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _read(parent: ElementTree.Element, left: int) -> dict[str, Any]:
    if left == 0:
        raise RecursionError
    found: dict[str, Any] = {}
    for element in parent:
        vr = element.attrib["vr"]
        attribute: dict[str, Any] = {"vr": vr}
        values: list[Any] = []
        for part in sorted(element, key=lambda one: int(one.attrib.get("number", "1"))):
            match _name(part):
                case "Item":
                    values.append(_read(part, left - 1))
                case "PersonName":
                    values.append(_read_name(part))
                case "Value":
                    values.append(_value(vr, part.text or ""))
                case "InlineBinary":
                    attribute["InlineBinary"] = part.text or ""
                case _:
                    raise ValueError("another element")
        if values:
            attribute["Value"] = values
        found[element.attrib["tag"].upper()] = attribute
    return found


def _read_name(element: ElementTree.Element) -> dict[str, str]:
    name = {}
    for group in element:
        parts = {_name(part): part.text or "" for part in group}
        name[_name(group)] = "^".join(parts.get(one, "") for one in _NAME_PARTS).rstrip("^")
    return name


def _value(vr: str, text: str) -> str | int | float:
    if vr in _WHOLE_NUMBERS:
        return int(text)
    return float(text) if vr in _NUMBERS else text


# --- values ----------------------------------------------------------------------------------


def attribute(vr: str, text: str) -> dict[str, Any]:
    """An attribute of the JSON Model, of DICOM's text for it."""
    found: dict[str, Any] = {"vr": vr}
    if text and vr == "PN":
        found["Value"] = [
            {
                group: part
                for group, part in zip(_NAME_GROUPS, name.split("="), strict=False)
                if part
            }
            for name in text.split("\\")
        ]
    elif text:
        found["Value"] = text.split("\\")
    return found
