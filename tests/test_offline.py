"""The tests' own rule: nothing leaves this machine. 192.0.2.1 is an address that is set aside for
documentation."""

import socket
import subprocess
import sys

import pytest
from jupyter_client.manager import start_new_kernel
from loopback_only import is_local

ATTEMPT = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=1)"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "", None, "0.0.0.0", b"localhost"]
)
def test_local_hosts(host):
    assert is_local(host)


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "2001:db8::1", "example.org", "localhost.example.org", b"example.org"]
)
def test_other_hosts(host):
    assert not is_local(host)


@pytest.mark.parametrize(
    "host, family", [("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6)]
)
def test_this_process_is_blocked(host, family):
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(ConnectionRefusedError, match="run offline"):
            datagrams.connect((host, 9))
        with pytest.raises(ConnectionRefusedError, match="run offline"):
            datagrams.sendto(b"", (host, 9))
        with pytest.raises(ConnectionRefusedError, match="run offline"):
            datagrams.sendmsg([b""], [], 0, (host, 9))


def test_names_are_not_looked_up():
    for look_up in (
        socket.gethostbyname,
        socket.gethostbyaddr,
        lambda name: socket.getaddrinfo(name, 9),
    ):
        with pytest.raises(ConnectionRefusedError, match="run offline"):
            look_up("example.org")


def test_child_processes_are_blocked():
    result = subprocess.run([sys.executable, "-c", ATTEMPT], capture_output=True, text=True)
    assert result.returncode == 1 and "run offline" in result.stderr


def test_kernels_are_blocked():
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        outputs = []
        client.execute_interactive(ATTEMPT, timeout=60, output_hook=outputs.append)
        assert any("run offline" in output["content"].get("evalue", "") for output in outputs)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_loopback_works():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        client.sendall(b"hello")
        connection, _ = server.accept()
        assert connection.recv(5) == b"hello"
        connection.close()
