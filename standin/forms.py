"""What the Imaging module's two forms send for a step: of OpenMRS 3 (O3) and of OpenMRS 2.

Decides the texts that a browser makes of what somebody picked. Must not know rows or HTTP.
"""

from datetime import datetime

from .records import StepFields

O3_MODALITIES = ("CR", "CT", "MR", "US", "XA", "DX", "MG", "PT", "RF", "SC", "XC", "OP")
"""It says PT for nuclear medicine."""
LEGACY_MODALITIES = (*O3_MODALITIES, "NM", "PR", "SR", "RT")

NO_TIME = "NaNNaN00"
"""What O3's form makes of a time that nobody picked."""


def o3_form(
    modality: str, aet_title: str, day: datetime, *, time_picked: bool = True, **more: str
) -> StepFields:
    """Date and time in one text of 14 digits, the time again in six. Its date picker ends today."""
    return StepFields(
        modality=modality,
        aet_title=aet_title,
        start_date=day.strftime("%Y%m%d%H%M%S"),
        start_time=day.strftime("%H%M00") if time_picked else NO_TIME,
        **more,
    )


def legacy_form(modality: str, aet_title: str, day: datetime, **more: str) -> StepFields:
    """The texts of a browser's own date and time fields."""
    return StepFields(
        modality=modality,
        aet_title=aet_title,
        start_date=day.strftime("%Y-%m-%d"),
        start_time=day.strftime("%H:%M"),
        **more,
    )
