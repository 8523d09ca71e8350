"""What an S3 store's refusals and silences mean, in sentences: which of them may pass, and how to mend the rest."""

import re

from visrec.config import S3Settings
from visrec.errors import AccessError, InputError, NotFoundError, OutsideError, VisrecError

PASSING_CODES = {
    "RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "InternalError",
    "ServiceUnavailable", "OperationAborted", "BadDigest", "IncompleteBody", "TooManyRequests",
}  # fmt: skip
WRONG_KEY = {"InvalidAccessKeyId", "InvalidToken", "UnrecognizedClientException", "InvalidClientTokenId"}
NO_BUCKET = {"NoSuchBucket", "InvalidBucketName"}
ELSEWHERE = {
    "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301", "307",
}  # fmt: skip


def may_pass(error: Exception) -> bool:
    """Whether trying again may help: silences, cuts, 5xx and "slow down" pass; refusals do not."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status in (408, 429) or _code(error) in PASSING_CODES
    if isinstance(error, boto.SSLError):
        return "certificate" not in str(error).lower()
    if isinstance(error, ResponseParserError):
        return False
    return isinstance(error, boto.HTTPClientError | boto.IncompleteReadError | boto.ConnectionError | OSError) or (
        type(error).__module__.startswith("urllib3")
    )


def explain(error: Exception, settings: S3Settings, bucket: str | None, doing: str) -> VisrecError:
    """The error as a sentence.

    Parameters
    ----------
    error : from boto3, botocore or urllib3
    settings : how the store was reached; only its endpoint is shown
    bucket : which bucket, None when listing buckets
    doing : what was tried, such as "listing"
    """
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    place = f"s3://{bucket}" if bucket else "the buckets"
    where = without_secrets(settings.endpoint_url or "AWS S3")
    if isinstance(error, boto.ClientError):
        return _refusal(error, settings, bucket, place, where, doing)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return AccessError(
            f"There are no complete credentials for {place} at {where}. Set ACCESS_KEY_ID and SECRET_ACCESS_KEY in the "
            "environment or in .env (in IBM Cloud: service credentials with HMAC)."
        )
    if isinstance(error, boto.SSLError):
        return OutsideError(
            f"The certificate of {where} is not trusted ({_short(error)}). For a private authority, set AWS_CA_BUNDLE "
            "to its certificate file."
        )
    if isinstance(error, boto.ParamValidationError):
        return InputError(f"'{bucket}' cannot be the name of a bucket; expected 3 to 63 letters, digits, dots, dashes.")
    if isinstance(error, ResponseParserError):
        return _not_a_store(where)
    return OutsideError(
        f"{where} could not be reached while {doing} {place} ({_short(error)}), after several tries. "
        "Check ENDPOINT_URL and the network."
    )


def _refusal(error, settings: S3Settings, bucket, place: str, where: str, doing: str) -> VisrecError:
    code = _code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if _is_web_page(error):
        return _not_a_store(where)
    if code in WRONG_KEY:
        return AccessError(f"{where} does not know the access key. Check ACCESS_KEY_ID and ENDPOINT_URL.")
    if code == "SignatureDoesNotMatch":
        return AccessError(f"{where} knows the access key, but the secret is wrong. Check SECRET_ACCESS_KEY.")
    if code in ("ExpiredToken", "TokenRefreshRequired"):
        return AccessError(f"The credentials for {where} have expired. Get new ones.")
    if code == "RequestTimeTooSkewed":
        return AccessError(f"{where} refuses because the clock of this machine is wrong. Set the clock (NTP).")
    if code in NO_BUCKET:
        return NotFoundError(f"There is no bucket '{bucket}' at {where}. `visrec buckets` lists those there are.")
    if code in ("NoSuchKey", "404", "NotFound"):
        return NotFoundError(f"There is no such object in {place} at {where}.")
    if code in ELSEWHERE:
        return OutsideError(
            f"{place} does not lie at {where} in region '{settings.region or 'us-east-1'}' ({_message(error)}). "
            "Set ENDPOINT_URL and REGION to where the bucket was made."
        )
    if status in (401, 403) or code in ("AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden"):
        return AccessError(
            f"{where} refuses {doing} {place}: the key is known, but has no permission for it. "
            "Ask for the role Reader (reading) or Writer (runs in a bucket), or name another bucket."
        )
    if code == "NotImplemented" or status in (405, 501):
        return OutsideError(f"{where} cannot do what {doing} {place} needs ({_message(error)}). Check ENDPOINT_URL.")
    return OutsideError(f"{where} failed while {doing} {place}: {code}, {_message(error)}")


def _is_web_page(error) -> bool:
    if error.operation_name.startswith("Head"):  # has no body; some stores label its absence as HTML
        return False
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers.get("content-type", "").startswith("text/html")


def _not_a_store(where: str) -> OutsideError:
    return OutsideError(
        f"{where} answered with something that is not an S3 store's answer, such as a web page. Check ENDPOINT_URL; "
        "for IBM COS it is like https://s3.eu-de.cloud-object-storage.appdomain.cloud."
    )


def without_secrets(text: str) -> str:
    """The text with a user and password taken out of every address, and without the queries, which may be signed.

    >>> without_secrets('Could not connect to "https://me:secret@host/faces?X-Amz-Signature=abc".')
    'Could not connect to "https://host/faces".'
    """
    return re.sub(r"""(\w://[^\s"'?]*)\?[^\s"']*""", r"\1", re.sub(r"""(?<=://)[^\s"'/]*@""", "", text))


def _code(error) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _message(error) -> str:
    return without_secrets(str(error.response.get("Error", {}).get("Message", "")).strip() or str(error))


def _short(error: Exception) -> str:
    text = without_secrets(str(error)).split("\n", 1)[0].strip().rstrip(".")
    return text if len(text) <= 200 else text[:200] + "..."
