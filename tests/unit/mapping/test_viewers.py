"""Which viewers show a study, and where they are."""

from typing import Any

import pytest

from orthanc_openmrs.mapping.studies import SeriesHead, StudyHead
from orthanc_openmrs.mapping.viewers import prefix_of, viewer_links, viewer_settings

ALL = (
    "orthanc-explorer-2",
    "stone-webviewer",
    "ohif",
    "web-viewer",
    "osimis-web-viewer",
    "volview",
    "wsi",
    "dicom-web",
    "python",
)
HEAD = StudyHead("abc", "1.2", series=("x", "y"))
SERIES = (SeriesHead("x", "CT"), SeriesHead("y", "SM"))


def test_each_viewer_is_linked_where_it_is_installed() -> None:
    found = viewer_links(HEAD, SERIES, plugins=ALL, settings=viewer_settings({}), prefix="/pacs")
    assert found == {
        "Explorer": "/pacs/app/explorer.html#study?uuid=abc",
        "Explorer2": "/pacs/ui/app/#/filtered-studies?StudyInstanceUID=1.2&expand=study",
        "Stone": "/pacs/stone-webviewer/index.html?study=1.2",
        "OHIF": "/pacs/ohif/viewer?StudyInstanceUIDs=1.2",
        "WebViewer": "/pacs/web-viewer/app/viewer.html?series=x",
        "OsimisViewer": "/pacs/osimis-viewer/app/index.html?study=abc",
        "VolView": "/pacs/volview/index.html?names=[archive.zip]&urls=[../studies/abc/archive]",
        "WSI": "/pacs/wsi/app/viewer.html?series=y",
        "DICOMweb": "/pacs/dicom-web/",
    }
    for number, plugin in enumerate(ALL[:-1], 1):
        one = viewer_links(HEAD, SERIES, plugins=[plugin], settings=viewer_settings({}))
        assert list(one) == ["Explorer", list(found)[number]]


@pytest.mark.parametrize(
    ("configuration", "name", "link"),
    [
        ({"OrthancExplorerEnabled": False}, "Explorer", None),
        ({"DicomWeb": {"Root": "/wado"}}, "DICOMweb", "/wado/"),
        ({"DicomWeb": {"Root": 7}}, "DICOMweb", "/dicom-web/"),
        ({"DicomWeb": []}, "DICOMweb", "/dicom-web/"),
        ({"OHIF": {"RouterBasename": "o/"}}, "OHIF", "/o/viewer?StudyInstanceUIDs=1.2"),
        (
            {"OHIF": {"DataSource": "dicom-json"}},
            "OHIF",
            "/ohif/viewer?url=../studies/abc/ohif-dicom-json",
        ),
        (
            {"OrthancExplorer2": {"Root": "/oe2/"}},
            "Explorer2",
            "/oe2/app/#/filtered-studies?StudyInstanceUID=1.2&expand=study",
        ),
    ],
)
def test_viewers_are_where_orthancs_configuration_puts_them(
    configuration: dict[str, Any], name: str, link: str | None
) -> None:
    settings = viewer_settings(configuration)
    assert viewer_links(HEAD, SERIES, plugins=ALL, settings=settings).get(name) == link


def test_a_viewer_that_cannot_show_a_study_is_not_linked() -> None:
    empty = viewer_links(StudyHead("abc", "1/2"), (), plugins=ALL, settings=viewer_settings({}))
    assert not {"WebViewer", "WSI"} & set(empty)
    assert empty["Stone"] == "/stone-webviewer/index.html?study=1%2F2"


@pytest.mark.parametrize(
    ("header", "prefix"),
    [
        ("/pacs", "/pacs"),
        ("/a/b.c/d_e-f/", "/a/b.c/d_e-f"),
        ("", ""),
        ("/", ""),
        ("pacs", ""),
        ("//evil.example", ""),
        ("/a//b", ""),
        ("/a/../b", ""),
        ("/.", ""),
        ("/a b", ""),
        ('/"><script>', ""),
        ("/a, /b", ""),
        ("https://evil.example", ""),
        ("/" + "a" * 200, ""),
    ],
)
def test_a_prefix_is_a_plain_path(header: str, prefix: str) -> None:
    assert prefix_of({"x-forwarded-prefix": header}) == prefix
