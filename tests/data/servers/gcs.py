"""Stands in for Google Cloud Storage's XML interface: gcs.py PORT, with a Python that has moto.

That interface is S3's but for three things, which are put in front of moto's S3 here: a bearer token
instead of a signature, `x-goog-if-generation-match: 0` instead of `If-None-Match: *`, and
`x-goog-copy-source`. (The emulator
gcp-storage-emulator has the JSON interface, and of the XML one only GET and PUT without ETags.)
"""

import sys
from urllib.parse import quote, unquote

import one_writer  # noqa: F401
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

moto = DomainDispatcherApplication(create_backend_app)

# moto tells users by this, and does not check it.
MOTOS = "AWS4-HMAC-SHA256 Credential=id/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"


def google(environ, start_response):
    if not environ.get("HTTP_AUTHORIZATION", "").startswith("Bearer "):
        start_response("401 Unauthorized", [("Content-Type", "application/xml")])
        return [b"<Error><Code>AuthenticationRequired</Code><Message>Authentication required.</Message></Error>"]
    environ["HTTP_AUTHORIZATION"] = MOTOS
    # Google takes names with every other letter escaped.
    for name in ("RAW_URI", "REQUEST_URI"):
        path, mark, query = environ.get(name, "").partition("?")
        environ[name] = quote(unquote(path), safe="/") + mark + query
    generation = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
    if generation == "0":
        environ["HTTP_IF_NONE_MATCH"] = "*"
    source = environ.pop("HTTP_X_GOOG_COPY_SOURCE", None)
    if source is not None:
        environ["HTTP_X_AMZ_COPY_SOURCE"] = quote(unquote(source), safe="/")
    return moto(environ, start_response)


run_simple("127.0.0.1", int(sys.argv[1]), google, threaded=True)
