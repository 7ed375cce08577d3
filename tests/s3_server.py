"""A loopback server that speaks S3, in a process of its own, and the environment in which a store finds it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

PATIENCE_SECONDS = 60.0
REGION = "us-east-1"

SERVER = """
import os, sys, threading
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler
WSGIRequestHandler.disable_nagle_algorithm = True
put_object, one_at_a_time = S3Response.put_object, threading.Lock()
def put_alone(response):
    with one_at_a_time:
        return put_object(response)
S3Response.put_object = put_alone
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
sys.stdin.read()
os._exit(0)
"""
"""Ends when the process that started it ends, however that comes about. Without Nagle: else each answer waits 40 ms.
One object is put at a time: moto looks whether a key is free, then takes it, and two threads may both have looked."""


@contextmanager
def s3_server(logs: Path) -> Iterator[str]:
    """Start the server; yields its address."""
    with logs.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, f"the S3 server did not start: {logs.read_text()[-2000:]}"
        _wait_for(f"{address}/moto-api/")
        yield address
    finally:
        process.stdin.close()
        process.wait()


def environment(address: str) -> dict[str, str]:
    """What the store's engine and boto3 read."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "reader",
        "AWS_SECRET_ACCESS_KEY": "writer",
    }


def make_bucket(address: str, name: str) -> str:
    """A fresh bucket; returns its URL."""
    urlopen(Request(f"{address}/{name}", method="PUT"), timeout=PATIENCE_SECONDS).close()
    return f"s3://{name}"


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            urlopen(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
