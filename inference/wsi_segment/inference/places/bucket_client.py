"""How a bucket is reached, and in a few words why it is not."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from functools import lru_cache
from typing import Any

from wsi_segment.errors import InputError
from wsi_segment.extras import needs_extra

_TIMEOUT = timedelta(seconds=60)
"""Timeout of a whole request, body included."""
_RETRY_FOR = timedelta(minutes=2)
"""Time in which failed requests are made again. With what is asked again beside that, a worker takes less than what
counts as hanging."""
_CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthorizationHeader")


def reason_of(error: Exception, address: str) -> str:
    """Return in a few words why a request failed; the library answers in twenty lines."""
    text = " ".join(str(error).split())
    code = re.search(r"<Code>(\w+)</Code>", text)
    status = re.search(r"status code: (\d+ [A-Za-z ]+)", text)
    if code and code[1] == "NoSuchBucket":
        return f"there is no bucket {address.partition('://')[2].partition('/')[0]}"
    if code and code[1].startswith(_CREDENTIALS):
        return f"the credentials are not accepted ({code[1]})"
    if "169.254.169.254" in text or "instance metadata" in text:
        return "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if (code and code[1] == "AccessDenied") or (status and status[1].startswith("403")):
        return "access is denied"
    if status:
        return f"the store answers {status[1].strip()}{f' ({code[1]})' if code else ''}"
    last = re.search(r"HTTP error: ([\w ]+?)(?: Debug source| *$|[:.{])", text)
    asked = re.search(r" (https?://[^/\s]+)", text)
    return f"the store{asked[0] if asked else ''} cannot be reached ({last[1] if last else text[:120]})"


def is_of_store(error: Exception) -> bool:
    """Return whether a request failed, rather than what was done with its answer."""
    return type(error).__module__.startswith("obstore")


def client_of(address: str) -> Any:
    """Return what obstore reaches an address by; one per process, for the credentials that the environment has now.

    Raises:
        InputError: what the environment says of credentials or of the store's address cannot be used.
    """
    return _client(address, tuple((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@lru_cache(64)
def _client(address: str, environment: tuple[tuple[str, str], ...]) -> Any:
    with needs_extra("remote", "an object store"):
        from obstore.store import from_url

    variable = "AWS_ENDPOINT_URL_S3" if os.environ.get("AWS_ENDPOINT_URL_S3") else "AWS_ENDPOINT_URL"
    endpoint = os.environ.get(variable, "")
    more: dict[str, Any] = {}
    if address.startswith("s3"):
        if endpoint and not re.match("https?://[^/]", endpoint):  # obstore panics
            raise InputError(f"{variable} {endpoint}: give an address that starts with http:// or https://")
        if variable == "AWS_ENDPOINT_URL_S3":
            more["endpoint"] = endpoint
        more |= _from_profile()
    return from_url(
        address,
        client_options={"allow_http": endpoint.startswith("http://"), "timeout": _TIMEOUT},
        retry_config={"max_retries": 10, "retry_timeout": _RETRY_FOR},
        **more,
    )


def _from_profile() -> dict[str, Any]:
    """Return credentials and region of a profile, as other programs for S3 find them, where no variable has them."""
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return {}
    with needs_extra("remote", "a profile of AWS"):
        import boto3
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session()
        if session.get_credentials() is None:
            return {}
    except BotoCoreError as error:  # there is no such profile, or its files are damaged
        raise InputError(f"AWS_PROFILE {os.environ.get('AWS_PROFILE', 'default')}: {error}") from error
    region = {"region": session.region_name} if session.region_name else {}
    return {"credential_provider": Boto3CredentialProvider(session)} | region
