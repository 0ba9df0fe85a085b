"""While the tests run, no Python process opens a connection that leaves this machine.

An audit hook cannot be removed again and sees every socket of its process. Processes started from
here load it too: `conftest.py` puts this folder on PYTHONPATH, where Python finds
`sitecustomize.py` at its start.
"""

import ipaddress
import sys

# their first argument is a host
NAMED = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
# their second is (host, port, ...)
ADDRESSED = {"socket.connect", "socket.sendto", "socket.sendmsg"}


def is_local(host) -> bool:
    """Tell whether a host, as a name or a number, is this machine."""
    name = host.decode() if isinstance(host, bytes) else host
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name in (None, "", "localhost")
    return address.is_loopback or address.is_unspecified


def refuse_others(event: str, args: tuple) -> None:
    """Raise where an audit event is about a host that is not this machine. Unix sockets have no
    host."""
    if event in NAMED:
        host = args[0]
    elif event in ADDRESSED and isinstance(args[1], tuple):
        host = args[1][0]
    else:
        return
    if not is_local(host):
        raise ConnectionRefusedError(f"the tests run offline: {event} to {host} is refused")


sys.addaudithook(refuse_others)
