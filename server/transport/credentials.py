"""TLS as grpc's own stack takes it: certificate, key and authorities, asked for anew each time.

Whatever else `server.settings.security` knows is refused with this transport when the settings are
read.
"""

from __future__ import annotations

import grpc

from server.tls import ServerTLS
from server.tls_files import Contents


def server_credentials(tls: ServerTLS) -> grpc.ServerCredentials:
    requires_client_cert = tls.requires_client_cert

    def configuration(contents: Contents) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(contents.key, contents.certificate)], contents.authorities
        )

    def changed() -> grpc.ServerCertificateConfiguration | None:
        contents = tls.source.changed()
        return None if contents is None else configuration(contents)

    return grpc.dynamic_ssl_server_credentials(
        configuration(tls.source.first),
        changed,  # type: ignore[arg-type]  # None for no change, says grpc's own documentation
        requires_client_cert,
    )
