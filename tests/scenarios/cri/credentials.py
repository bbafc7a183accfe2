"""What the parts of a cluster of the tests know each other by."""

from __future__ import annotations

import json
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

TOKEN = "of-the-tests"  # whoever has it may do everything


def write(folder: Path) -> None:
    """The API server's certificate, the key of service accounts, a token, and a kubeconfig with it."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "10.96.0.1", "kubernetes.default.svc")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    issued.private_key_pem.write_to_path(folder / "api.key")
    issued.cert_chain_pems[0].write_to_path(folder / "api.crt")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "accounts.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
    cluster = {"server": "https://127.0.0.1:6443", "certificate-authority": f"{folder}/ca.crt"}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
        "current-context": "tests",
    }
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
