"""Links to the viewers that this Orthanc has.

Decides: which plugin is which viewer, and the path of a study in it, below the prefix that a
reverse proxy says it added. Must not know: HTTP, Orthanc's module.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from orthanc_openmrs.mapping.studies import SeriesHead, StudyHead

_PREFIX = re.compile(r"(/[A-Za-z0-9_.-]+)+")
_LONGEST_PREFIX = 200


@dataclass(frozen=True, slots=True)
class ViewerSettings:
    """What Orthanc's configuration says of viewers, with the defaults of the plugins."""

    explorer: bool = True
    explorer2_root: str = "/ui/"
    ohif_root: str = "/ohif/"
    ohif_dicom_json: bool = False
    dicomweb_root: str = "/dicom-web/"


def viewer_settings(configuration: Mapping[str, Any]) -> ViewerSettings:
    """From Orthanc's configuration; what isn't as it should be is the plugins' to refuse."""
    ohif = _section(configuration, "OHIF")
    return ViewerSettings(
        explorer=configuration.get("OrthancExplorerEnabled") is not False,
        explorer2_root=_root(_section(configuration, "OrthancExplorer2"), "Root", "/ui/"),
        ohif_root=_root(ohif, "RouterBasename", "/ohif/"),
        ohif_dicom_json=ohif.get("DataSource") == "dicom-json",
        dicomweb_root=_root(_section(configuration, "DicomWeb"), "Root", "/dicom-web/"),
    )


def _section(configuration: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = configuration.get(key)
    return section if isinstance(section, Mapping) else {}


def _root(section: Mapping[str, Any], key: str, default: str) -> str:
    root = section.get(key)
    names = root.strip("/") if isinstance(root, str) else ""
    return f"/{names}/" if names else default


@dataclass(frozen=True, slots=True)
class _Shown:
    """A study, and what of it goes into a link."""

    study: str
    uid: str
    first_series: str
    first_slide: str
    settings: ViewerSettings


_Path = Callable[[_Shown], str]


def _ohif(shown: _Shown) -> str:
    root = f"{shown.settings.ohif_root}viewer"
    if shown.settings.ohif_dicom_json:
        return f"{root}?url=../studies/{shown.study}/ohif-dicom-json"
    return f"{root}?StudyInstanceUIDs={shown.uid}"


_VIEWERS: tuple[tuple[str, str, _Path], ...] = (
    # name, the plugin's identifier, the path ("" where it can't show the study)
    (
        "Explorer2",
        "orthanc-explorer-2",
        lambda shown: (
            f"{shown.settings.explorer2_root}app/#/filtered-studies"
            f"?StudyInstanceUID={shown.uid}&expand=study"
        ),
    ),
    ("Stone", "stone-webviewer", lambda shown: f"/stone-webviewer/index.html?study={shown.uid}"),
    ("OHIF", "ohif", _ohif),
    (
        "WebViewer",
        "web-viewer",
        lambda shown: (
            f"/web-viewer/app/viewer.html?series={shown.first_series}" if shown.first_series else ""
        ),
    ),
    (
        "OsimisViewer",
        "osimis-web-viewer",
        lambda shown: f"/osimis-viewer/app/index.html?study={shown.study}",
    ),
    (
        "VolView",
        "volview",
        lambda shown: (
            f"/volview/index.html?names=[archive.zip]&urls=[../studies/{shown.study}/archive]"
        ),
    ),
    (
        "WSI",
        "wsi",
        lambda shown: (
            f"/wsi/app/viewer.html?series={shown.first_slide}" if shown.first_slide else ""
        ),
    ),
    ("DICOMweb", "dicom-web", lambda shown: shown.settings.dicomweb_root),
)


def viewer_links(
    head: StudyHead,
    series: Sequence[SeriesHead],
    *,
    plugins: Collection[str],
    settings: ViewerSettings,
    prefix: str = "",
) -> dict[str, str]:
    """The viewers that can show a study, by name, and where."""
    slides = [one.series for one in series if one.modality == "SM"]
    shown = _Shown(
        study=quote(head.study, safe=""),
        uid=quote(head.study_instance_uid, safe=""),
        first_series=quote(next(iter(head.series), ""), safe=""),
        first_slide=quote(next(iter(slides), ""), safe=""),
        settings=settings,
    )
    paths = {name: path(shown) for name, plugin, path in _VIEWERS if plugin in plugins}
    if settings.explorer:
        paths = {"Explorer": f"/app/explorer.html#study?uuid={shown.study}"} | paths
    return {name: prefix + path for name, path in paths.items() if path}


def prefix_of(headers: Mapping[str, str]) -> str:
    """The path that a reverse proxy took away (X-Forwarded-Prefix), "" where it isn't one."""
    text = headers.get("x-forwarded-prefix", "").strip().rstrip("/")
    sane = len(text) <= _LONGEST_PREFIX and _PREFIX.fullmatch(text) is not None
    return text if sane and not {".", ".."} & set(text.split("/")) else ""
