"""Stands in for Amazon's S3 on loopback: s3.py PORT, with a Python that has moto."""

import sys

import one_writer  # noqa: F401
from moto.server import main

main(["-H", "127.0.0.1", "-p", sys.argv[1]])
