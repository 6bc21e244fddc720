#!/usr/bin/env bash
# obstore 0.12.1 against moto 5.2.5: `put` of a large open file, which is uploaded in parts, where the last answer, the
# one that the upload is complete, breaks off on its way. The object is stored as a whole.
#
# One would guess: obstore asks again, as it does for a failed request, or says that the answer broke off; and who then
# puts the same open file again has the object at worst twice.
# What happens: obstore takes the upload for failed and aborts it, which the store cannot do with one that is complete.
# The error of that abort is the one that comes out: FileNotFoundError, "Object at location large not found", of a put
# whose object is there. The first error is lost. Putting the same open file again succeeds, and puts 0 bytes in the
# object's place, since it is read from where the first try has left it. Whoever tries again must know NoSuchUpload for
# what it is, and go back to the beginning of the file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check obstore==0.12.1 'moto[server]==5.2.5'
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee "$folder/seen"
import io
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
client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **keys)
client.create_bucket(Bucket="bucket")
cuts = [True]


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = HTTPConnection(host, port)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("ETag", answer.headers.get("ETag", ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "POST" and "uploadId" in self.path and cuts and cuts.pop():
            content, self.close_connection = content[:20], True
        self.wfile.write(content)

    do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *args):
        pass


proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=proxy.serve_forever, daemon=True).start()
store = S3Store(
    "bucket", endpoint=f"http://127.0.0.1:{proxy.server_port}", region="us-east-1", access_key_id="test",
    secret_access_key="test", client_options={"allow_http": True},
)


def put():
    try:
        obstore.put(store, "large", file)
        said = "succeeded"
    except Exception as error:
        said = f"{type(error).__name__}: {str(error).partition(':')[0]}"
    found = client.list_objects_v2(Bucket="bucket").get("Contents", [])
    return f"{said}; {[(one['Key'], one['Size']) for one in found]}"


print("obstore", version("obstore"), "moto", version("moto"))
file = io.BytesIO(bytes(12_000_000))
print("put:", put())
print("put again:", put())
server.stop()
PYTHON
# seen:
# obstore 0.12.1 moto 5.2.5
# put: FileNotFoundError: Object at location large not found; [('large', 12000000)]
# put again: succeeded; [('large', 0)]
grep -qx "put: FileNotFoundError: Object at location large not found; \[('large', 12000000)\]" "$folder/seen"
grep -qx "put again: succeeded; \[('large', 0)\]" "$folder/seen"
