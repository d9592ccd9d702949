"""Which objects are images of an exam, and which only say something about images.

Decides: whether a series may complete a step, by its modality (PS3.3 C.7.3.1.1.1) and SOP class
(PS3.4 B.5). A report, a key object selection or a presentation state is made of images that are
there, often days later and of another exam's too: none says that an exam was done.
Must not know: steps, evidence, OpenMRS.
"""

from orthanc_openmrs.model import SeriesSummary

NO_ACQUISITION = frozenset(
    (
        "ANN",  # annotation
        "ASMT",  # content assessment result
        "DOC",  # document
        "FID",  # fiducials
        "HC",  # hard copy
        "KO",  # key object selection, rejection notes among them
        "M3D",  # model for 3D manufacturing
        "PLAN",
        "POS",  # position sensor
        "PR",  # presentation state
        "REG",  # registration
        "RTDOSE",
        "RTPLAN",
        "RTRECORD",
        "RTSTRUCT",
        "RWV",  # real world value map
        "SEG",  # segmentation
        "SMR",  # stereometric relationship
        "SR",  # structured report
        "STAIN",  # automated slide stainer
        "TEXTUREMAP",
    )
)
"""Modalities of what is made of images, or for them."""

UNSPECIFIC = frozenset(("OT", "SC", ""))
"""Modalities that say nothing: a film that was scanned, and a screenshot too."""

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_NO_ACQUISITION_CLASSES = tuple(
    f"{_STORAGE}{root}."
    for root in (
        "11",  # presentation states
        "30",  # parametric maps
        "43",  # implant templates
        "44",
        "45",
        "66",  # raw data, registration, fiducials, segmentation, tractography
        "67",  # real world value mapping
        "77.1.5.3",  # stereometric relationship
        "88",  # structured reports, key object selection
        "90",  # content assessment
        "91",  # annotations
        "104",  # encapsulated documents and models
        "200",  # protocols
        "201",  # inventories
        "481.2",  # RT dose, structure set, plan, treatment records
        "481.3",
        "481.4",
        "481.5",
        "481.6",
        "481.7",
        "481.8",
        "481.9",
    )
)


def is_acquisition(series: SeriesSummary) -> bool:
    """Whether it holds images or waveforms of an exam, as far as modality and SOP class say."""
    if series.modality.strip().upper() in NO_ACQUISITION:
        return False
    return not f"{series.sop_class_uid}.".startswith(_NO_ACQUISITION_CLASSES)


def is_unspecific(series: SeriesSummary) -> bool:
    """Whether its modality says nothing."""
    return series.modality.strip().upper() in UNSPECIFIC


def may_complete(series: SeriesSummary, modality: str) -> bool:
    """Whether it can show that a step of a modality was done. What names no modality of its own
    does so for a step that doesn't either."""
    if not is_acquisition(series):
        return False
    return not is_unspecific(series) or modality in UNSPECIFIC
