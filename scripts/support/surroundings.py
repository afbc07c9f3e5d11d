"""What tests put around a server: certificates that can be issued again, and a network that can be cut.

Needs openssl and ip, which scripts/setup installs.
"""

import os
import subprocess
from pathlib import Path


class LeftOut(Exception):
    """Why something cannot be done on this machine."""


# Where ip lives is not in every PATH.
os.environ["PATH"] += os.pathsep + "/usr/sbin:/sbin"


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


class Authority:
    """A certificate authority in a folder, with one certificate for localhost."""

    def __init__(self, folder):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.root = str(folder / "root.pem")
        self.certificate = str(folder / "cert.pem")
        self.key = str(folder / "key.pem")
        self._root_key = str(folder / "root.key")
        self._folder = folder
        _run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
              "-subj", "/CN=a root for tests", "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", self._root_key, "-out", self.root])
        self.issue()

    def issue(self):
        """Replaces certificate and key; each file is whole at any time."""
        request, extensions = str(self._folder / "request.pem"), self._folder / "extensions"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        key, certificate = f"{self.key}.new", f"{self.certificate}.new"
        _run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
              "-keyout", key, "-out", request])
        _run(["openssl", "x509", "-req", "-in", request, "-CA", self.root, "-CAkey", self._root_key, "-CAcreateserial", "-days", "2",
              "-extfile", str(extensions), "-out", certificate])
        os.replace(key, self.key)
        os.replace(certificate, self.certificate)


class Network:
    """A network of its own for clients, which can be taken from them: `host` is this end of it."""

    def __init__(self):
        # Two of these scripts may run beside each other, one for each driver.
        own = os.getpid() % 10000
        self._name = f"soak{own}"
        self._network = f"10.213.{own % 256}"
        self.host = f"{self._network}.1"

    def __enter__(self):
        name, here, there = self._name, f"{self._name}h", f"{self._name}c"
        for step in [f"ip netns add {name}", f"ip link add {here} type veth peer name {there} netns {name}",
                     f"ip addr add {self.host}/30 dev {here}", f"ip link set {here} up",
                     f"ip -n {name} addr add {self._network}.2/30 dev {there}", f"ip -n {name} link set {there} up", f"ip -n {name} link set lo up"]:
            try:
                _run(step.split())
            except OSError as error:
                self.__exit__()
                raise LeftOut(f"no network of one's own: {error}") from error
        return self

    def __exit__(self, *_):
        for step in [f"ip netns del {self._name}", f"ip link del {self._name}h"]:
            subprocess.run(step.split(), capture_output=True, check=False)

    def run(self, command):
        """A program on the clients' side."""
        return subprocess.Popen(["ip", "netns", "exec", self._name, *map(str, command)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def cut(self):
        """From now on what is sent is lost, both ways and without an answer."""
        _run(["ip", "-n", self._name, "link", "set", f"{self._name}c", "down"])
