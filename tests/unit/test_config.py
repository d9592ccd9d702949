"""Orthanc's configuration: every refusal is one clear line, the four keys are enough."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orthanc_openmrs.config import SECTION, read_settings
from orthanc_openmrs.errors import ConfigurationError
from orthanc_openmrs.openmrs.sign_in import TokenClient
from orthanc_openmrs.worklist.matching import Station

FOLDER = Path("/etc/orthanc")
SECRET = "Pa55-in-no-message"
ROOT = "https://emr.example/openmrs/ws/rest/v1"
FOUR: dict[str, Any] = {
    "ImagingWorklistURL": f"{ROOT}/worklist/requests",
    "ImagingUpdateRequestStatus": f"{ROOT}/worklist/updaterequeststatus",
    "ImagingWorklistUsername": "imaging",
    "ImagingWorklistPassword": SECRET,
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The four keys, and one more (or another) under a path like OpenMRS.Stations.CT1."""
    *parents, last = path.split(".")
    for key in reversed(parents):
        value, last = {last: value}, key
    return {**FOUR, last: value}


def refusal(configuration: Mapping[str, Any]) -> ConfigurationError:
    """The error that a configuration is refused with."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings(configuration, FOLDER)
    return caught.value


BEARER = {
    "TokenURL": "https://sso/realms/hospital/protocol/openid-connect/token",
    "ClientID": "orthanc",
    "ClientSecret": SECRET,
    "Scope": "openid",
}

REFUSED: list[tuple[str, object, str, str]] = [
    ("ImagingWorklistURL", None, "null", "text"),
    ("ImagingWorklistURL", 7, "a number", "text"),
    ("ImagingWorklistURL", "", "text", "http:// or https://"),
    ("ImagingWorklistURL", "ftp://emr/list", "text", "http:// or https://"),
    ("ImagingWorklistURL", "http://emr:99999/list", "text", "valid port"),
    ("ImagingWorklistURL", "http://emr/list\n", "text", "http:// or https://"),
    ("ImagingUpdateRequestStatus", [ROOT], "an array", "text"),
    ("ImagingUpdateRequestStatus", "emr/status", "text", "http:// or https://"),
    ("ImagingUpdateRequestStatus", "http://:80/status", "text", "host"),
    ("ImagingWorklistUsername", None, "null", "text"),
    ("ImagingWorklistPassword", 1234, "a number", "text"),
    ("OpenMRS", [], "an array", "an object"),
    ("OpenMRS.RefreshInterval", "10", "text", "a number"),
    ("OpenMRS.RefreshInterval", True, "a boolean", "a number"),
    ("OpenMRS.RefreshInterval", 0, "a number", "1 to 3600"),
    ("OpenMRS.MaxStaleness", {}, "an object", "a number"),
    ("OpenMRS.MaxStaleness", -1, "a number", "1 to"),
    ("OpenMRS.Timeout", "ten", "text", "a number"),
    ("OpenMRS.Timeout", 0, "a number", "0.1 to 600"),
    ("OpenMRS.UpdateTimeout", None, "null", "a number"),
    ("OpenMRS.MaxResponseSize", 1.5, "a number", "a whole number"),
    ("OpenMRS.MaxResponseSize", 0, "a number", "1 to 1024"),
    ("OpenMRS.CACertificates", True, "a boolean", "text"),
    ("OpenMRS.VerifyCertificates", "false", "text", "true or false"),
    ("OpenMRS.ClientCertificate", 1, "a number", "text"),
    ("OpenMRS.ClientKey", [], "an array", "text"),
    ("OpenMRS.RestURL", "/ws/rest/v1", "text", "http:// or https://"),
    ("OpenMRS.PersonNames", "guess", "text", "split, verbatim, lookup"),
    ("OpenMRS.PersonNames", 5, "a number", "split, verbatim, lookup"),
    ("OpenMRS.StationFilter", True, "a boolean", "query, caller"),
    ("OpenMRS.Stations", [], "an array", "an object"),
    ("OpenMRS.Stations.CT1", "CT", "text", "an object"),
    ("OpenMRS.Stations.CT1.Charset", "latin", "text", "ascii"),
    ("OpenMRS.Stations.CT1.AETitles", "CTROOM", "text", "an array"),
    ("OpenMRS.Stations.CT1.AETitles", [], "an array", "1"),
    ("OpenMRS.Stations.CT1.AETitles", ["A\\B"], "text", "AE title"),
    ("OpenMRS.Stations.CT1.DaysBack", -1, "a number", "0 to"),
    ("OpenMRS.Stations.CT1.DaysAhead", "7", "text", "a whole number"),
    ("OpenMRS.LinkBy", "StudyInstanceUID", "text", "an array"),
    ("OpenMRS.LinkBy", ["StudyID"], "text", "StudyInstanceUID, Request"),
    ("OpenMRS.LinkBy", [], "an array", "1"),
    ("OpenMRS.HoldPatientMismatch", "yes", "text", "true or false"),
    ("OpenMRS.ReportInProgress", 1, "a number", "true or false"),
    ("OpenMRS.Database", 1, "a number", "text"),
    ("OpenMRS.Database", "mysql://host/db", "text", "sqlite:///"),
    ("OpenMRS.KeepDelivered", "90", "text", "a number"),
    ("OpenMRS.KeepDelivered", -1, "a number", "0 to"),
    ("OpenMRS.ExplorerButtons", 0, "a number", "true or false"),
    ("OpenMRS.PatientMetadata", "4026", "text", "a whole number"),
    ("OpenMRS.PatientMetadata", 65536, "a number", "0 to 65535"),
    ("OpenMRS.PatientMetadata", 1023, "a number", "1024 to"),
    ("OpenMRS.Webhook", "https://h/", "text", "an object"),
    ("OpenMRS.Webhook.URL", "h/hook", "text", "http:// or https://"),
    ("OpenMRS.Webhook.Secret", "short", "text", "16"),
    ("OpenMRS.Webhook.Page", 1, "a number", "text"),
    ("OpenMRS.Webhook.ListOlderThan", 0, "a number", "0.1 to 10080"),
    ("OpenMRS.Debug", "true", "text", "true or false"),
    ("OpenMRS.BearerToken", "token", "text", "an object"),
    ("OpenMRS.BearerToken.TokenURL", "sso/token", "text", "http:// or https://"),
    ("OpenMRS.BearerToken.ClientID", "", "text", "1"),
    ("OpenMRS.BearerToken.ClientSecret", 7, "a number", "text"),
    ("OpenMRS.BearerToken.Scope", ["openid"], "an array", "text"),
    ("OpenMRS.Orders", ["x"], "an array", "an object"),
    ("OpenMRS.Orders.OrderTypes", "b4a7c280", "text", "an array"),
    ("OpenMRS.Orders.OrderTypes", [], "an array", "1"),
    ("OpenMRS.Orders.OrderTypes", ["Radiology Order"], "text", "a uuid of OpenMRS"),
    ("OpenMRS.Orders.Concepts", ["LOINC:1"], "an array", "an object"),
    ("OpenMRS.Orders.Default", "CT", "text", "an object"),
    ("OpenMRS.Orders.Default.Modality", 5, "a number", "text"),
    ("OpenMRS.Orders.Default.AETitle", "A\\B", "text", "AE title"),
    ("OpenMRS.Orders.FulfillerStatus", "RECEIVED", "text", "an array"),
    ("OpenMRS.Orders.FulfillerStatus", ["PAID"], "text", "null, RECEIVED, IN_PROGRESS, COMPLETED"),
    ("OpenMRS.Orders.FulfillerStatus", [], "an array", "1"),
    ("OpenMRS.Orders.DaysBack", -1, "a number", "0 to"),
    ("OpenMRS.MPPS", 4243, "a number", "an object"),
    ("OpenMRS.MPPS.Port", "4243", "text", "a whole number"),
    ("OpenMRS.MPPS.Port", 0, "a number", "1 to 65535"),
    ("OpenMRS.MPPS.Port", 4242, "4242", "another"),
    ("OpenMRS.MPPS.AET", "A\\B", "text", "AE title"),
    ("OpenMRS.MPPS.Address", 127, "a number", "text"),
    ("OpenMRS.MPPS.CallingAETs", "CT1", "text", "an array"),
    ("OpenMRS.MPPS.CallingAETs", ["THIS_TITLE_IS_TOO_LONG"], "text", "AE title"),
    ("OpenMRS.MPPS.MaxAssociations", 0, "a number", "1 to 1000"),
    ("OpenMRS.MPPS.Timeout", 0, "a number", "1 to 3600"),
    ("OpenMRS.MPPS.ImagesWithin", -1, "a number", "0 to 10080"),
    ("OpenMRS.MPPS.OnDiscontinued", "hide", "text", "offer, leave"),
]


@pytest.mark.parametrize(("path", "value", "found", "expected"), REFUSED)
def test_a_wrong_value_is_refused_by_key_type_and_expectation_on_one_line(
    path: str, value: object, found: str, expected: str
) -> None:
    error = refusal(changed(path, value))
    line = str(error)
    assert error.key.startswith(path)
    assert line.startswith(path)
    assert len(line.splitlines()) == 1
    assert expected in error.problem
    assert found in error.problem


def test_every_key_has_a_refusal_in_the_table() -> None:
    seen = {path.split(".")[1] for path, *_ in REFUSED if "." in path}
    assert set(SECTION["properties"]) == seen
    assert {path for path, *_ in REFUSED if "." not in path} == {*FOUR, "OpenMRS"}


@pytest.mark.parametrize(
    ("configuration", "key", "words"),
    [
        ({k: FOUR[k] for k in FOUR if k != "ImagingWorklistURL"}, "ImagingWorklistURL", "missing"),
        ({}, "ImagingWorklistURL", "missing"),
        (
            {"ImagingWorklistURL": ROOT},
            "ImagingUpdateRequestStatus",
            "missing",
        ),
        (
            {"ImagingWorkListUrl": "", "ImagingUpdateRequestStatus": ROOT, "Imaging": 1},
            "ImagingWorklistURL",
            "it has ImagingWorkListUrl: did you mean ImagingWorklistURL?",
        ),
        (changed("OpenMRS.Tiemout", 10), "OpenMRS.Tiemout", "did you mean Timeout?"),
        (changed("OpenMRS.timeout", 10), "OpenMRS.timeout", "did you mean Timeout?"),
        (changed("OpenMRS.Time\nout", 10), "OpenMRS.Time", "Timeout"),
        (changed("OpenMRS.Stations.CT1.Days", 1), "OpenMRS.Stations.CT1.Days", "DaysBack"),
        (changed("OpenMRS.Stations.THIS_TITLE_IS_TOO_LONG", {}), "OpenMRS.Stations", "AE title"),
        (changed("OpenMRS.Stations. ", {}), "OpenMRS.Stations", "AE title"),
        (changed("OpenMRS.Stations.CT1\n", {}), "OpenMRS.Stations", "AE title"),
        (changed("OpenMRS.LinkBy", ["AccessionNumber"] * 2), "OpenMRS.LinkBy", "unique"),
        (changed("OpenMRS.CACertificates", "no-such.pem"), "OpenMRS.CACertificates", "no such"),
        (changed("OpenMRS.ClientKey", "/dev/null"), "OpenMRS.ClientKey", "ClientCertificate"),
        *(
            (changed("OpenMRS.Database", f"postgresql+psycopg://{url}"), "OpenMRS.Database", "%XX")
            for url in (f"orthanc:p@{SECRET}@db/x", f"orthanc:/{SECRET}", f"db:{SECRET}/x")
        ),
        (
            changed("OpenMRS.BearerToken", BEARER | {"TokenURL": "https://u:p@sso/token"}),
            "OpenMRS.BearerToken.TokenURL",
            "credentials",
        ),
        *(
            (
                changed("OpenMRS.BearerToken", {k: BEARER[k] for k in BEARER if k != missing}),
                f"OpenMRS.BearerToken.{missing}",
                "is missing",
            )
            for missing in ("TokenURL", "ClientID", "ClientSecret")
        ),
        (changed("Worklists.Enable", True), "Worklists.Enable", "false"),
        (changed("ImagingWorklistURL", "http://u:p@emr/"), "ImagingWorklistURL", "credentials"),
    ],
)
def test_what_else_stops_the_start_is_one_line_too(
    configuration: dict[str, Any], key: str, words: str
) -> None:
    error = refusal(configuration)
    assert error.key.startswith(key)
    assert words in str(error)
    assert SECRET not in str(error)
    assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ImagingWorklistPassword", SECRET),
        ("ImagingWorklistPassword", [SECRET]),
        ("ImagingWorklistURL", f"http://user:{SECRET}@emr/list"),
        ("ImagingUpdateRequestStatus", f"http://user:{SECRET}@emr/status"),
        ("OpenMRS.RestURL", f"http://user:{SECRET}@emr/ws/rest/v1"),
        ("OpenMRS.Database", f"postgresql+psycopg://orthanc:{SECRET}@db/openmrs"),
        ("OpenMRS.Database", f"mysql://orthanc:{SECRET}@db/openmrs"),
        ("OpenMRS.Password", SECRET),
        ("OpenMRS.PersonNames", SECRET),
        ("OpenMRS.Timeout", SECRET),
        ("OpenMRS.LinkBy", [SECRET]),
    ],
)
def test_no_password_is_ever_told(path: str, value: object) -> None:
    try:
        told = repr(read_settings(changed(path, value), FOLDER))
    except ConfigurationError as error:
        told = f"{error}{error!r}{error.__cause__!r}"
    assert SECRET not in told


def test_the_four_keys_alone_give_every_default() -> None:
    settings = read_settings(FOUR, FOLDER)
    for name, value in {
        "worklist_url": FOUR["ImagingWorklistURL"],
        "update_url": FOUR["ImagingUpdateRequestStatus"],
        "username": "imaging",
        "password": SECRET,
        "rest_url": ROOT,
        "refresh_interval": 10,
        "max_staleness": 86400,
        "timeout": 10,
        "update_timeout": 120,
        "max_response_size": 64 * 1024 * 1024,
        "verify": True,
        "client_certificate": None,
        "person_names": "lookup",
        "own_steps_only": False,
        "stations": {},
        "link_by": (
            "StudyInstanceUID",
            "RequestAttributesSequence",
            "AccessionNumber",
            "PerformedProcedureStepID",
            "MPPS",
        ),
        "hold_patient_mismatch": True,
        "report_in_progress": True,
        "database": "sqlite:////etc/orthanc/OrthancStorage/openmrs.db",
        "keep_delivered": 90 * 86400,
        "debug": False,
        "codec": "iso8859-1",
    }.items():
        assert getattr(settings, name) == value, name
    assert "DefaultEncoding" in settings.warnings[0]


def test_the_two_urls_alone_are_enough() -> None:
    settings = read_settings({k: FOUR[k] for k in list(FOUR)[:2]}, FOLDER)
    assert (settings.username, settings.password) == ("", "")


@pytest.mark.parametrize("worklists", [{"Enable": False}, {}, {"Database": "x"}, None])
def test_the_native_worklists_are_no_matter_while_they_are_off(worklists: object) -> None:
    assert read_settings(changed("Worklists", worklists), FOLDER).worklist_url


@pytest.mark.parametrize(
    ("keys", "folder", "path"),
    [
        ({}, "/etc/orthanc", "/etc/orthanc/OrthancStorage/openmrs.db"),
        ({"StorageDirectory": "db"}, "/etc/orthanc", "/etc/orthanc/db/openmrs.db"),
        ({"StorageDirectory": "/var/s"}, "/etc/orthanc", "/var/s/openmrs.db"),
        ({"StorageDirectory": "/var/s", "IndexDirectory": "ix"}, "/e", "/e/ix/openmrs.db"),
        ({"StorageDirectory": "/s", "IndexDirectory": "/var/i"}, "/e", "/var/i/openmrs.db"),
        ({"StorageDirectory": "/s", "IndexDirectory": ""}, "/e", "/s/openmrs.db"),
        ({"IndexDirectory": "/srv/a b@c#d%41é"}, "/e", "/srv/a b@c#d%41é/openmrs.db"),
        ({"IndexDirectory": "/srv/what?"}, "/e", "/srv/what?/openmrs.db"),
    ],
)
def test_the_database_lies_in_orthancs_index_folder(
    keys: dict[str, Any], folder: str, path: str
) -> None:
    url = read_settings(FOUR | keys, Path(folder)).database
    assert sa.make_url(url).database == path


@pytest.mark.parametrize(
    ("worklist_url", "expected", "why"),
    [
        (f"{ROOT}/worklist/requests", ROOT, "v1 and later"),
        (f"{ROOT}/imaging/worklist", ROOT, "v0"),
        ("http://emr:8080/ws/rest/v1/worklist/requests", "http://emr:8080/ws/rest/v1", "at root"),
        ("http://gateway/lists/imaging", "", "nothing to derive it from"),
    ],
)
def test_the_rest_url_is_the_worklists_up_to_the_version(
    worklist_url: str, expected: str, why: str
) -> None:
    assert read_settings(changed("ImagingWorklistURL", worklist_url), FOLDER).rest_url == expected


def test_what_is_configured_is_what_is_used(tmp_path: Path) -> None:
    for name in ("ca.pem", "client.pem", "client.key"):
        (tmp_path / name).touch()
    section = {
        "RestURL": "https://other/ws/rest/v1",
        "CACertificates": "ca.pem",
        "ClientCertificate": "client.pem",
        "ClientKey": "client.key",
        "StationFilter": "caller",
        "LinkBy": ["AccessionNumber"],
        "KeepDelivered": 1,
        "MaxResponseSize": 2,
        "Database": "sqlite:////srv/mine.db",
        "Stations": {"CT1": {"Charset": "ascii", "AETitles": ["CT1", "CTROOM"], "DaysBack": 7}},
    }
    settings = read_settings({**FOUR, "OpenMRS": section, "DefaultEncoding": "Utf8"}, tmp_path)
    assert settings.rest_url == "https://other/ws/rest/v1"
    assert settings.verify == str(tmp_path / "ca.pem")
    assert settings.client_certificate == (
        str(tmp_path / "client.pem"),
        str(tmp_path / "client.key"),
    )
    assert settings.own_steps_only
    assert settings.link_by == ("AccessionNumber",)
    assert settings.keep_delivered == 86400
    assert settings.max_response_size == 2 * 1024 * 1024
    assert settings.database == "sqlite:////srv/mine.db"
    assert settings.stations == {"CT1": Station(("CT1", "CTROOM"), "ascii", 7, None)}
    assert (settings.codec, settings.warnings) == ("utf-8", ())


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [("Utf8", "utf-8"), ("utf8", "utf-8"), ("UTF8", "utf-8"), ("LATIN1", "iso8859-1")],
)
def test_an_encoding_is_known_in_any_spelling_that_orthanc_takes(encoding: str, codec: str) -> None:
    settings = read_settings(changed("DefaultEncoding", encoding), FOLDER)
    assert settings.codec == codec
    assert any("DefaultEncoding" in text for text in settings.warnings) is (codec != "utf-8")


@pytest.mark.parametrize(
    ("encoding", "words"),
    [("Windows1251", "is text"), ("UTF-8", "is text"), (8, "is a number"), (None, "is null")],
)
def test_an_encoding_that_fails_every_query_stops_the_start(encoding: object, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_settings(changed("DefaultEncoding", encoding), FOLDER)
    assert str(refused.value).startswith(f"DefaultEncoding: {words}")
    assert "expected one of Ascii, Utf8, Latin1" in str(refused.value)


@pytest.mark.parametrize("charset", ["ascii", "latin1", "cyrillic", "shift_jis", "gb18030", "utf8"])
def test_a_station_may_show_the_letters_of_any_encoding(charset: str) -> None:
    settings = read_settings(changed("OpenMRS.Stations.CT1", {"Charset": charset}), FOLDER)
    assert settings.stations == {"CT1": Station(charset=charset)}


@pytest.mark.parametrize("text", ['{"DaysBack": 7.0, "DaysAhead": 30.0}'])
def test_a_whole_number_with_a_point_is_a_whole_number(text: str) -> None:
    # JSON has one kind of number: 7.0 passes as an integer, and days are counted with it.
    station = read_settings(changed("OpenMRS.Stations.CT1", json.loads(text)), FOLDER).stations
    assert isinstance(station["CT1"].days_back, int)
    assert isinstance(station["CT1"].days_ahead, int)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("ImagingWorklistURL", "http://emr/list", ["ImagingWorklistURL is http"]),
        ("ImagingUpdateRequestStatus", "http://10.0.0.1/x", ["ImagingUpdateRequestStatus is http"]),
        ("OpenMRS.RestURL", "http://emr/ws/rest/v1", ["OpenMRS.RestURL is http"]),
        ("ImagingWorklistURL", "http://127.0.0.1:8080/list", []),
        ("ImagingWorklistURL", "http://[::1]/list", []),
        ("ImagingWorklistURL", "http://localhost/list", []),
        ("ImagingWorklistURL", "http://localhost.evil.example/list", ["is http"]),
        ("OpenMRS.VerifyCertificates", False, ["VerifyCertificates is false"]),
        ("OpenMRS.Debug", True, ["Debug is true"]),
        ("ImagingWorklistPassword", f"{SECRET}:2", ["has a colon"]),
        ("ImagingWorklistUsername", "hospital:imaging", ["has a colon"]),
        ("OpenMRS.BearerToken", BEARER | {"TokenURL": "http://sso/token"}, ["TokenURL is http"]),
        ("OpenMRS.BearerToken", BEARER, []),
    ],
)
def test_what_exposes_patients_is_a_warning(path: str, value: object, words: list[str]) -> None:
    configuration = changed(path, value) | {"DefaultEncoding": "Utf8"}
    warnings = read_settings(configuration, FOLDER).warnings
    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))
    assert not any(SECRET in warning for warning in warnings)


def test_a_token_is_taken_instead_of_the_password() -> None:
    assert read_settings(FOUR, FOLDER).token_client is None
    client = read_settings(changed("OpenMRS.BearerToken", BEARER), FOLDER).token_client
    assert client == TokenClient(BEARER["TokenURL"], "orthanc", SECRET, "openid")
    assert SECRET not in repr(client)


def test_no_secret_is_in_the_repr_of_the_settings() -> None:
    url = f"postgresql+psycopg://orthanc:{SECRET}@db/openmrs"
    settings = read_settings(changed("OpenMRS.Database", url), FOLDER)
    assert SECRET in settings.password
    assert SECRET in settings.database
    assert SECRET not in f"{settings}{settings!r}"


TYPE = "b4a7c280-369e-4d12-9ce8-18e36783fed6"
CHEST = "12AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def test_orders_are_read_where_their_types_are_named() -> None:
    section = {
        "OrderTypes": [TYPE],
        "Concepts": {
            CHEST: {"Modality": "X-Ray", "AETitle": "XRAY1"},
            " LOINC:24627-2 ": {"Modality": "CT"},
        },
        "Default": {"Modality": "CR"},
        "FulfillerStatus": [None, "RECEIVED"],
    }
    found = read_settings(changed("OpenMRS.Orders", section), FOLDER).orders
    assert found is not None
    assert (found.order_types, found.days_back) == ((TYPE,), 30)
    assert set(found.rules.concepts) == {CHEST.casefold(), "loinc:24627-2"}
    assert found.rules.default.modality == "CR"
    assert found.rules.passing == {"", "RECEIVED"}
    assert read_settings(FOUR, FOLDER).orders is None
    plain = read_settings(changed("OpenMRS.Orders", {"OrderTypes": [TYPE]}), FOLDER).orders
    assert plain is not None
    assert plain.rules.passing == {"", "RECEIVED", "IN_PROGRESS"}


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ({"DaysBack": 7}, {}, "OpenMRS.Orders.OrderTypes: is missing"),
        (
            {"OrderTypes": [TYPE], "Concepts": {"LOINC:1": {"Modality": "Roentgen-Gerät"}}},
            {},
            "OpenMRS.Orders.Concepts.LOINC:1.Modality: ",
        ),
        ({"OrderTypes": [TYPE], "Default": {"Modality": "a\\b"}}, {}, "Orders.Default.Modality: "),
        (
            {"OrderTypes": [TYPE]},
            {"ImagingWorklistURL": "https://emr.example/list"},
            "OpenMRS.RestURL: is missing: OpenMRS.Orders needs it",
        ),
    ],
)
def test_orders_that_cannot_be_meant_stop_the_start(
    section: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    assert words in str(refusal({**changed("OpenMRS.Orders", section), **changes}))
