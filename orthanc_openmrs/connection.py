"""The OpenMRS of a configuration, for the plugin and for the doctor alike."""

from orthanc_openmrs.config import Settings
from orthanc_openmrs.openmrs.client import OpenMRSClient
from orthanc_openmrs.openmrs.order_client import OrderClient
from orthanc_openmrs.openmrs.sign_in import MAX_TOKEN, BearerToken, Password, SignIn
from orthanc_openmrs.openmrs.transport import Transport


def transport_of(settings: Settings, longest: float = 3600) -> Transport:
    """How the configured OpenMRS is reached."""
    return Transport(
        sign_in=_sign_in(settings, longest),
        verify=settings.verify,
        client_certificate=settings.client_certificate,
        debug=settings.debug,
    )


def connect(
    settings: Settings, longest: float = 3600, transport: Transport | None = None
) -> OpenMRSClient:
    """The configured OpenMRS; none of its exchanges takes longer than `longest` seconds."""
    return OpenMRSClient(
        transport or transport_of(settings, longest),
        worklist_url=settings.worklist_url,
        update_url=settings.update_url,
        rest_url=settings.rest_url,
        timeout=min(settings.timeout, longest),
        update_timeout=min(settings.update_timeout, longest),
        max_response_size=settings.max_response_size,
    )


def connect_orders(
    settings: Settings, longest: float = 3600, transport: Transport | None = None
) -> OrderClient | None:
    """Its orders, None where they are no source."""
    if settings.orders is None:
        return None
    return OrderClient(
        transport or transport_of(settings, longest),
        rest_url=settings.rest_url,
        order_types=settings.orders.order_types,
        days_back=settings.orders.days_back,
        timeout=min(settings.timeout, longest),
        max_response_size=settings.max_response_size,
    )


def _sign_in(settings: Settings, longest: float) -> SignIn | None:
    client = settings.token_client
    if client is None:
        return Password(settings.username, settings.password) if settings.username else None
    # No Debug here: what it is given is a secret.
    provider = Transport(
        sign_in=client.sign_in(),
        verify=settings.verify,
        client_certificate=settings.client_certificate,
    )
    timeout = min(settings.timeout, longest)
    return BearerToken(
        lambda: provider.ask(
            "POST", client.url, timeout=timeout, limit=MAX_TOKEN, form=client.form
        ),
        patience=2 * timeout,
    )
