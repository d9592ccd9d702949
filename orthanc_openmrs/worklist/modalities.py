"""What people write for a modality → DICOM's code (PS3.3 C.7.3.1.1.1).

Decides: which words mean which code. OpenMRS's field is free text, and a scanner asks for a code:
"Ultrasound" would never be found by US. Words are those of the page's languages, and of others
that its users write. Must not know: scanners, queries.
"""

import re
import unicodedata

from orthanc_openmrs.worklist.values import Value, clean

OTHER = "OT"

_DEFINED_TERMS = """
AR ASMT AU BDUS BI BMD CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL
IVOCT IVUS KER KO LEN LS MG MR M3D NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT
PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR
SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC
AS CD CF CP CS DD DF DM DR DS EC FA FS LP MA MS RD ST VF
"""
CODES = frozenset(_DEFINED_TERMS.split())
"""The defined terms; in the last line the retired ones, and DR, which scanners ask for."""

_WORDS = {
    "CT": """ct scan, cat scan, ctscan, scan, scanner, computed tomography, tomography,
        tomodensitometrie, tdm, tomografia computarizada, tomografia computadorizada, tomografia,
        tac, кт, компьютерная томография""",
    "MR": """mri, mri scan, magnetic resonance, magnetic resonance imaging, nmr, irm, rm, rmn,
        imagerie par resonance magnetique, resonancia magnetica, resonancia, ressonancia magnetica,
        ressonancia, мрт, магнитно-резонансная томография""",
    "US": """ultrasound, ultrasound scan, ultrasonography, sonography, sonogram, sono, uss, usg,
        doppler, echographie, echo-doppler, ecografia, ultrasonido, ultrassom, ultrassonografia,
        ультразвук, узи""",
    "DX": """x-ray, x ray, xray, x-rays, xrays, plain film, plain x-ray, radiograph, radiography,
        digital x-ray, digital radiography, chest x-ray, cxr, radiographie, radio, rayons x,
        radiografia, rayos x, raio x, raios x, raio-x, raios-x, рентген, рентгенография""",
    "CR": "computed radiography, radiographie numerisee",
    "MG": "mammography, mammogram, mammo, mammographie, mamografia, маммография",
    "RF": "fluoroscopy, radioscopie, fluoroscopie, fluoroscopia, barium, рентгеноскопия",
    "XA": "angiography, angio, angiographie, angiografia, cath lab, ангиография",
    "NM": """nuclear medicine, scintigraphy, scintigraphie, medecine nucleaire, medicina nuclear,
        gammagrafia, cintilografia, spect, сцинтиграфия""",
    "PT": "pet, pet scan, pet-ct, pet/ct, tep, tep-scan, пэт",
    "BMD": """dexa, dxa, bone densitometry, densitometry, osteodensitometrie, densitometria""",
    "ES": "endoscopy, endoscopie, endoscopia, эндоскопия",
    "ECG": "ekg, electrocardiogram, electrocardiography, electrocardiogramme, экг",
    "PX": "opg, orthopantomogram, panoramic x-ray, panoramique dentaire, panoramica",
    "IO": "intraoral, dental x-ray, radiographie dentaire",
    "XC": "photo, photography, photographie, fotografia",
    "OP": "fundus, fundus photography, fond d'oeil, retinography",
    "SM": "pathology, histology, microscopy",
}

_LOOK_ALIKE = str.maketrans("АВЕКМНОРСТУХ", "ABEKMHOPCTYX")
"""Cyrillic capitals that look like Latin ones."""


def _key(text: str) -> str:
    """Without regard to width, case and accents, words apart by one blank."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(mark for mark in decomposed if not unicodedata.combining(mark))
    return " ".join(plain.replace("_", " ").split())


_CODE_OF = {_key(word): code for code, words in _WORDS.items() for word in words.split(",")}


def modality(text: str) -> Value:
    """CS: a code of DICOM's. What nobody knows is offered as OT, and said so."""
    cleaned = clean(text)
    if not cleaned:
        return Value("")
    code = _code(cleaned)
    if code == cleaned.upper():
        return Value(code)
    if code:
        return Value(code, adjusted=f"is a word; offered as {code}")
    several = [_code(part) for part in re.split(r"[/,;+&|]|\band\b|\bet\b", cleaned)]
    named = [code for code in several if code]
    if named:
        return Value(named[0], f"names several; offered as {named[0]}: write one of DICOM's codes")
    return Value(
        OTHER, "is no modality of DICOM's; offered as OT: write a code such as CT, MR, US, DX"
    )


def _code(text: str) -> str:
    """The code of one word, "" where there is none."""
    wide = unicodedata.normalize("NFKC", text).strip().upper()
    for code in (wide, wide.translate(_LOOK_ALIKE)):
        if code in CODES:
            return code
    return _CODE_OF.get(_key(text), "")
