"""The OpenMRS of a configuration, for the plugin and for the doctor alike."""

from orthanc_openmrs.config import Settings
from orthanc_openmrs.openmrs.client import OpenMRSClient
from orthanc_openmrs.openmrs.transport import Transport


def connect(settings: Settings, longest: float = 3600) -> OpenMRSClient:
    """The configured OpenMRS; none of its exchanges takes longer than `longest` seconds."""
    transport = Transport(
        username=settings.username,
        password=settings.password,
        verify=settings.verify,
        client_certificate=settings.client_certificate,
        debug=settings.debug,
    )
    return OpenMRSClient(
        transport,
        worklist_url=settings.worklist_url,
        update_url=settings.update_url,
        rest_url=settings.rest_url,
        timeout=min(settings.timeout, longest),
        update_timeout=min(settings.update_timeout, longest),
        max_response_size=settings.max_response_size,
    )
