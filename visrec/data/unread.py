"""Why the bytes of an image could not be had: the store failed, has no such object, or cannot unpack it.

None of these is a fault of the image itself, so all are looked at again another time.
"""

from visrec.errors import InputError, NotFoundError

UNREAD = "unread"
MISSING = "missing_file"
NOT_UNPACKED = "not_unpacked"
NOT_READ = (UNREAD, MISSING, NOT_UNPACKED)


def status_of(error: Exception) -> str:
    """The status of an image whose reading ended in this error.

    >>> status_of(NotFoundError("There is no '1.jpg'.")), status_of(TimeoutError("It stalls."))
    ('missing_file', 'unread')
    """
    if isinstance(error, NotFoundError):
        return MISSING
    return NOT_UNPACKED if isinstance(error, InputError) else UNREAD
