"""The image's HEALTHCHECK: exit code 0 while the dashboard answers on ``/_stcore/health``, else 1.

Python stands in for curl, which a slim image lacks. ``http.client`` and not ``urllib.request``, because the latter
would send even a question to 127.0.0.1 through the proxy named in ``http_proxy``.
"""

import http.client
import sys

PORT = 8501
TIMEOUT_S = 4  # below the five seconds that HEALTHCHECK allows, so that the reason is still printed


def main(port: int = PORT) -> int:
    """Ask once.

    Returns
    -------
    int
        0 healthy, 1 not: no answer, or an answer other than 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/_stcore/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer on port {port}: {error}")
        return 1
    finally:
        connection.close()
    print(f"port {port} answers {status}")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
