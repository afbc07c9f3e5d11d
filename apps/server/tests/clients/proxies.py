"""Reverse proxies of Debian in front of a server under test: nginx, which speaks HTTP to it, and HAProxy, which
passes bytes on behind a PROXY header, version 2.

Does not install them: scripts/setup does. Each writes its configuration and log below artifacts/ and is ended by its
process id; nothing outlives the `with` block.
"""

import os
import shutil
import socket
import subprocess
import time

import environment
from server_under_test import ServerFailed, free_port

START_SECONDS_MAX = 10
END_SECONDS_MAX = 5

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{server};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_read_timeout 120s;
    }}
  }}
}}
"""

HAPROXY = """
global
  maxconn 4096
defaults
  mode tcp
  timeout connect 5s
  timeout client 120s
  timeout server 120s
listen websocket
  bind 127.0.0.1:{port}
  server ringsock 127.0.0.1:{server} send-proxy-v2
"""

# For each proxy: its configuration, how it is started with it, and what the server must be told to believe it.
_TRUST = ["--set", "proxies.networks=127.0.0.0/8"]
PROXIES = {
    "nginx": (NGINX, ["nginx", "-p", "{folder}", "-c", "{file}"], [*_TRUST, "--set", "proxies.header=x-forwarded-for"]),
    "haproxy": (HAPROXY, ["haproxy", "-db", "-f", "{file}"], [*_TRUST, "--set", "proxies.proxy_protocol=true"]),
}


def server_arguments(name):
    """What the server behind this proxy is started with."""
    return PROXIES[name][2]


class Proxy:
    """One of PROXIES in front of a port of 127.0.0.1, running inside a `with` block."""

    def __init__(self, name, server_port):
        self.port = free_port()
        self.address = f"ws://127.0.0.1:{self.port}/"
        folder = environment.ARTIFACTS / "proxies" / f"{name}-{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "configuration"
        text, command, _ = PROXIES[name]
        file.write_text(text.format(folder=folder, port=self.port, server=server_port))
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        program = shutil.which(command[0], path=path)
        if program is None:
            raise environment.SetupError(f"{name} is missing; run scripts/setup, or on Debian: apt-get install {name}")
        self._name = name
        self._command = [program, *(part.format(folder=folder, file=file) for part in command[1:])]
        self._log = folder / "log"
        self._process = None

    def __enter__(self):
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        self.__exit__()
        raise ServerFailed(f"{self._name} does not start\n{self._log.read_text(errors='replace')[-2000:]}")

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
