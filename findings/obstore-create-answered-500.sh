#!/usr/bin/env bash
# obstore 0.12.1 against moto 5.2.5: `put(..., mode="create")` of an object that was stored, but whose answer was 500.
#
# One would guess: obstore tries again, as it does for every 5xx answer, and the call succeeds or says that the server failed.
# What happens: it tries again, and the second try is refused by what the first one stored: AlreadyExistsError, for an
# object that nobody else has written. An update by ETag ends in PreconditionError in the same way. Whoever builds a
# lock on conditional puts must put a token into the object and compare it after a refusal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check obstore==0.12.1 'moto[server]==5.2.5'
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee "$folder/seen"
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import boto3
import obstore
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **keys).create_bucket(Bucket="bucket")
fails = []


class Proxy(BaseHTTPRequestHandler):
    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        connection = HTTPConnection(host, port)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(500 if fails and fails.pop() else answer.status)
        self.send_header("ETag", answer.headers.get("ETag", ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=proxy.serve_forever, daemon=True).start()
store = S3Store(
    "bucket", endpoint=f"http://127.0.0.1:{proxy.server_port}", region="us-east-1", access_key_id="test",
    secret_access_key="test", client_options={"allow_http": True},
)
print("obstore", version("obstore"), "moto", version("moto"))
fails.append(True)
try:
    obstore.put(store, "lock", b"mine", mode="create")
    print("create: succeeded")
except Exception as error:
    print("create:", type(error).__name__)
known = obstore.put(store, "other", b"1", mode="create")
fails.append(True)
try:
    obstore.put(store, "other", b"2", mode={"e_tag": known["e_tag"]})
    print("update: succeeded")
except Exception as error:
    print("update:", type(error).__name__)
server.stop()
PYTHON
# seen:
# obstore 0.12.1 moto 5.2.5
# create: AlreadyExistsError
# update: PreconditionError
grep -qx "create: AlreadyExistsError" "$folder/seen"
grep -qx "update: PreconditionError" "$folder/seen"
