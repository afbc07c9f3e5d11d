"""The TLS of the server as openssl and curl see it: what it speaks, what it refuses, and what it says then.

Starts the server itself, with a certificate of an authority that the clients trust. Prints its own tests and
`N passed, N failed`. Weak versions and ciphers that this openssl has forgotten how to offer cannot be offered; those are
not counted.
"""

import argparse
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "scripts" / "support"))

import environment
from server_under_test import Server, ServerFailed, end_in_order_at_sigterm
from surroundings import Authority

SECONDS_MAX = 20
UPGRADE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
STRONG = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
# Without forward secrecy, without authenticated encryption, without encryption, without a known peer.
WEAK = ["AES128-GCM-SHA256", "AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "DES-CBC3-SHA", "RC4-SHA",
        "ECDHE-ECDSA-NULL-SHA", "NULL-SHA256", "AECDH-AES128-SHA", "ADH-AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"]


class Visit:
    """A server, and what came of talking to it."""

    def __init__(self, server, authority, folder):
        self.port, self._authority, self._folder = server.port, authority, folder
        self.passed = self.failed = 0

    def check(self, good, name, seen=""):
        print(f"{'ok' if good else 'not ok'} - {name}" + (f"\n{seen}" if seen and not good else ""), flush=True)
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)

    def openssl(self, *flags, say="Q\n"):
        """What `openssl s_client` prints when it says this to the server."""
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-servername", "localhost", "-CAfile", self._authority.root, *flags]
        try:
            done = subprocess.run(command, input=say, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return f"no end within {SECONDS_MAX} s"
        return done.stdout + done.stderr

    def curl(self, *flags, scheme="https", host="localhost"):
        """What curl prints, head and body, and its exit code."""
        command = ["curl", "--silent", "--show-error", "--include", "--max-time", "3", "--cacert", self._authority.root,
                   "--resolve", f"{host}:{self.port}:127.0.0.1", *flags, f"{scheme}://{host}:{self.port}/"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)
        return done.stdout + done.stderr, done.returncode

    def file(self, name):
        return str(self._folder / name)


def is_up(output):
    """Whether the handshake came to its end and the certificate is the authority's."""
    return "Verify return code: 0 (ok)" in output and not re.search(r"Cipher is \(NONE\)|no peer certificate", output)


def versions(visit):
    for flag, name in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")]:
        seen = visit.openssl(flag)
        visit.check(is_up(seen) and f"New, {name}" in seen, f"{name} is spoken", seen)
        visit.check("Compression: NONE" in seen, f"{name} compresses nothing", seen)
    for flag, name in [("-tls1_1", "TLS 1.1"), ("-tls1", "TLS 1.0")]:
        seen = visit.openssl(flag, "-cipher", "ALL:@SECLEVEL=0")
        refused = re.search(r"SSL alert number (40|70)\b", seen)
        visit.check(not is_up(seen) and refused, f"{name} is refused by an alert", seen)


def ciphers(visit):
    for cipher in STRONG:
        seen = visit.openssl("-tls1_2", "-cipher", cipher)
        visit.check(is_up(seen) and f"Cipher is {cipher}" in seen, f"{cipher} is spoken", seen)
    for cipher in WEAK:
        offered = subprocess.run(["openssl", "ciphers", "-s", "-tls1_2", f"{cipher}:@SECLEVEL=0"], capture_output=True, text=True, check=False)
        if cipher not in offered.stdout:
            continue
        seen = visit.openssl("-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
        visit.check(not is_up(seen) and "alert handshake failure" in seen, f"{cipher} is refused", seen)
    for cipher in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]:
        seen = visit.openssl("-tls1_3", "-ciphersuites", cipher)
        visit.check(is_up(seen) and f"Cipher is {cipher}" in seen, f"{cipher} is spoken", seen)
    for group, name in [("X25519", "X25519"), ("P-256", "prime256v1"), ("P-384", "secp384r1")]:
        seen = visit.openssl("-tls1_3", "-groups", group)
        visit.check(is_up(seen) and (name in seen or group in seen), f"keys are agreed on by {group}", seen)


def protocols(visit):
    seen = visit.openssl("-alpn", "h2,http/1.1")
    visit.check(is_up(seen) and "ALPN protocol: http/1.1" in seen, "of h2 and http/1.1 it takes http/1.1", seen)
    seen = visit.openssl("-alpn", "h2")
    visit.check("alert no application protocol" in seen, "who speaks only h2 is told that nothing is in common", seen)
    seen = visit.openssl()
    visit.check(is_up(seen) and "No ALPN negotiated" in seen, "who names no protocol is served", seen)


def sessions(visit):
    for flag in ["-tls1_3", "-tls1_2"]:
        session = visit.file(f"session{flag}.pem")
        # Tickets of 1.3 come behind the handshake: an answer must be read before they are there.
        request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        first = visit.openssl(flag, "-sess_out", session, "-ign_eof", say=request)
        visit.check(Path(session).exists() and "New," in first, f"a session can be kept ({flag})", first)
        if Path(session).exists():
            again = visit.openssl(flag, "-sess_in", session)
            visit.check(is_up(again) and "Reused," in again, f"and is resumed ({flag})", again)
    seen = visit.openssl("-tls1_2", say="R\n")
    visit.check("no renegotiation" in seen or "unexpected message" in seen, "a client cannot renegotiate", seen)
    visit.check("Secure Renegotiation IS supported" in visit.openssl("-tls1_2"), "renegotiation is the secure kind that is then refused")
    request = "K\nGET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    seen = visit.openssl("-tls1_3", say=request)
    visit.check("KEYUPDATE" in seen and "bad record mac" not in seen, "keys are updated when asked", seen)


def pages(visit):
    for flags in [["--tlsv1.3"], ["--tlsv1.2", "--tls-max", "1.2"]]:
        seen, code = visit.curl(*flags)
        visit.check(code == 0 and seen.startswith("HTTP/1.1 200"), f"curl gets the page ({flags[-1]})", seen)
        heads = [word for line in UPGRADE for word in ("--header", line)]
        seen, _ = visit.curl(*flags, "--http1.1", *heads)
        visit.check(seen.startswith("HTTP/1.1 101") and "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in seen, f"curl is upgraded ({flags[-1]})", seen)
    seen, code = visit.curl(host="elsewhere.test")
    visit.check(code == 60, "curl finds that the certificate is not for another name", f"{code}: {seen}")
    seen, code = visit.curl(scheme="http")
    visit.check(code == 0 and seen.startswith("HTTP/1.1 400") and "TLS" in seen, "who speaks plain HTTP is told to speak TLS", seen)
    with socket.create_connection(("127.0.0.1", visit.port), timeout=SECONDS_MAX) as plain:
        plain.sendall(b"\x16\x03\x01\x00\x05hello")
        answer = plain.recv(100)
    visit.check(answer[:1] == b"\x15", "what is no handshake is answered by an alert", repr(answer))


def visit_server(arguments, driver):
    log = environment.ARTIFACTS / "logs" / f"secured-{driver}.log"
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder)
        flags = ["--tls-cert", authority.certificate, "--tls-key", authority.key]
        with Server(arguments.server, driver, log, flags) as server:
            visit = Visit(server, authority, Path(folder))
            for look in (versions, ciphers, protocols, sessions, pages):
                look(visit)
            panics = [line for line in server.log_lines() if "panicked" in line]
            visit.check(server.is_running() and not panics, "the server is still running, without a panic", "\n".join(panics))
    return visit


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("driver", choices=["ring", "epoll"])
    parser.add_argument("--server", default=environment.SERVER, help="command of the server, without `echo`")
    arguments = parser.parse_args()
    end_in_order_at_sigterm()
    try:
        visit = visit_server(arguments, arguments.driver)
    except ServerFailed as error:
        sys.exit(f"not ok - {error}")
    print(f"{visit.passed} passed, {visit.failed} failed")
    sys.exit(1 if visit.failed or not visit.passed else 0)


if __name__ == "__main__":
    main()
