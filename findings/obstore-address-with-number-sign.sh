#!/usr/bin/env bash
# Zarr stores in a bucket, named after slides such as "slide #1". One would guess that obstore's from_url and fsspec (s3fs)
# mean the same objects by the same s3:// address. To s3fs all that follows the bucket is the key, as it stands. obstore
# takes the address for a URL: it ends at "#" or "?", and %20 is a space. Nothing is said: "slide #1.zarr" and "slide #2.zarr"
# are one store named "slide ", in which the second slide takes the place of the first, and which s3fs finds under neither
# address. S3Store(bucket, prefix=...) of the same library takes the key as it stands.
# Seen with obstore 0.12.1, s3fs 2026.9.0, zarr 3.1.6 and moto 5.2.5 on Linux x86-64, Python 3.11:
#     written by s3fs under s3://bucket/slide #1.zarr and #2.zarr: ['slide #1.zarr', 'slide #2.zarr'], read [1, 2]
#     written by obstore under the same addresses: ['slide '], read [2, 2]
#     written by obstore under s3://bucket/50%20.zarr: ['50 .zarr']
#     S3Store with prefix= of the same names: ['50%20.zarr', 'slide #1.zarr']
# What does help: urllib.parse.quote of the key in an address for obstore, or prefix= without an address.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet obstore==0.12.1 s3fs==2026.9.0 zarr==3.1.6 'moto[server]==5.2.5'
cd "$folder" && venv/bin/python -W ignore - <<'PYTHON' 2> "$folder/log" || { tail -5 "$folder/log"; exit 1; }
import boto3
import zarr
from moto.server import ThreadedMotoServer
from obstore.store import S3Store, from_url
from zarr.storage import FsspecStore, ObjectStore

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint, key = f"http://{host}:{port}", "test"
client = boto3.client(
    "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=key
)
for_obstore = {
    "endpoint": endpoint, "region": "us-east-1", "access_key_id": key, "secret_access_key": key,
    "client_options": {"allow_http": True},
}
for_s3fs = {"key": key, "secret": key, "endpoint_url": endpoint}


def written(bucket, stores):
    client.create_bucket(Bucket=bucket)
    for number, store in enumerate(stores, 1):
        zarr.create_array(store, shape=(1,), dtype="u1", overwrite=True)[:] = number
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]]
    read = [int(zarr.open_array(store, mode="r")[0]) for store in stores]
    return sorted({key.split("/")[0] for key in keys}), read


names = ["slide #1.zarr", "slide #2.zarr"]
fsspec = written("fsspec", [FsspecStore.from_url(f"s3://fsspec/{n}", storage_options=for_s3fs) for n in names])
print(f"written by s3fs under s3://bucket/slide #1.zarr and #2.zarr: {fsspec[0]}, read {fsspec[1]}")
obstore = written("obstore", [ObjectStore(from_url(f"s3://obstore/{n}", **for_obstore)) for n in names])
print(f"written by obstore under the same addresses: {obstore[0]}, read {obstore[1]}")
decoded = written("decoded", [ObjectStore(from_url("s3://decoded/50%20.zarr", **for_obstore))])
print(f"written by obstore under s3://bucket/50%20.zarr: {decoded[0]}")
plain = written("prefix", [ObjectStore(S3Store("prefix", prefix=n, **for_obstore)) for n in (names[0], "50%20.zarr")])
print(f"S3Store with prefix= of the same names: {plain[0]}")
server.stop()
assert fsspec == (names, [1, 2]) and plain[0] == ["50%20.zarr", "slide #1.zarr"]
assert obstore == (["slide "], [2, 2]) and decoded[0] == ["50 .zarr"], "this has changed"
PYTHON
