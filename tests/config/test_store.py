from __future__ import annotations

import base64
import os
import shutil
import ssl
from pathlib import Path

import pytest

from tests.config.texts import guard, policy, with_secret
from tests.config.volumes import Volume
from tests.policy.minting import jwks, public_jwk
from tests.support.certificates import Authority
from wsguard.config import files, store
from wsguard.config.store import ConfigError, Snapshot, examine, read
from wsguard.policy.overrides import Overrides

SECRET = "s" * 32


def snapshot(path: Path) -> Snapshot:
    return read([path], now=lambda: 1000.0)


CREDENTIALS = f"""\
-----BEGIN NATS USER JWT-----
a.b.c
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
SU{"A" * 56}
------END USER NKEY SEED------
"""


def errors(*paths: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(paths)
    return str(caught.value).splitlines()


def test_reads_files_and_the_keys_they_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(with_secret("a.key"))
    (tmp_path / "b.yaml").write_text(guard("{admin: {tokenFile: token}}"))
    (tmp_path / "a.key").write_text(SECRET)
    (tmp_path / "token").write_text("open sesame".replace(" ", "-"))
    found = snapshot(tmp_path)
    key, token = str(tmp_path / "a.key"), str(tmp_path / "token")
    assert found.key_files == {key: SECRET.encode(), token: b"open-sesame"}
    assert found.local_keys[key].algorithms == {"HS256"}
    assert set(found.stamp) == {key, token, str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")}
    assert found.loaded_at == 1000.0
    assert found.warnings == ()
    provider = found.policy_set.policies[0].spec.jwt
    assert provider is not None
    assert provider.providers[0].local_secret_file == key, "the model and the snapshot have one name for it"


def test_does_not_show_what_keys_hold(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(with_secret("a.key"))
    (tmp_path / "a.key").write_text(SECRET)
    assert SECRET not in repr(snapshot(tmp_path))
    assert SECRET not in repr(examine([tmp_path]))


def test_without_paths_the_built_in_policy_holds() -> None:
    found = read([], Overrides.parse(backend="http://127.0.0.1:3000"))
    assert [each.name for each in found.policy_set.policies] == ["default"]
    assert found.policy_set.guard.backends[0].url == "http://127.0.0.1:3000"


def test_a_path_without_policies_never_means_the_built_in_policy(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert errors(tmp_path / "empty") == [f"{tmp_path}/empty:1:1: error: the folder holds no *.yaml file"]
    assert errors(tmp_path / "gone") == [f"{tmp_path}/gone:1:1: error: there is no such file or folder"]
    (tmp_path / "a.yaml").write_text(policy())
    assert len(errors(tmp_path, tmp_path / "gone")) == 1


def test_a_file_in_two_of_the_paths_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(policy())
    assert len(read([tmp_path, tmp_path / "a.yaml"]).policy_set.policies) == 1


def test_the_revision_is_of_what_was_read(tmp_path: Path) -> None:
    file, key = tmp_path / "a.yaml", tmp_path / "a.key"
    file.write_text(with_secret("a.key"))
    key.write_text(SECRET)
    revisions = [snapshot(tmp_path).revision]
    os.utime(file, (1, 1))
    assert snapshot(tmp_path).revision == revisions[0]
    key.write_text(SECRET + "t")
    revisions.append(snapshot(tmp_path).revision)
    file.write_text(with_secret("a.key") + "# more\n")
    revisions.append(snapshot(tmp_path).revision)
    assert len(set(revisions)) == 3
    assert all(len(revision) == 12 for revision in revisions)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: there is no such file or folder"),
        (b"", "holds no usable keys: it is empty"),
        (b" \n", "holds no usable keys: it is empty"),
        (b"short", "holds no usable keys: the secret has 5 bytes"),
    ],
)
def test_a_secret_that_is_none_is_an_error_where_it_is_named(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    (tmp_path / "a.yaml").write_text(with_secret("a.key"))
    if content is not None:
        (tmp_path / "a.key").write_bytes(content)
    (error,) = errors(tmp_path)
    assert error.startswith(f"{tmp_path}/a.yaml:4:")
    assert f'error: "{tmp_path}/a.key" {sentence}' in error


HANDSHAKE_TOKENS = policy(
    spec="{origin: {handshakeToken: {required: true, secretFile: tokens.key}},"
    " jwt: {providers: [{name: p, issuer: i, audiences: [a], algorithms: [RS256], remoteJWKS: {uri: 'https://i/k'}}]}}"
)


def test_keys_of_handshake_tokens_are_read_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HANDSHAKE_TOKENS)
    key = base64.b64encode(bytes(range(32))).decode()
    (tmp_path / "tokens.key").write_text(f"{key}\n")
    found = snapshot(tmp_path)
    assert list(found.token_keys) == [str(tmp_path / "tokens.key")]
    assert key not in repr(found)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("c2hvcnQ=", "line 1 has 5 bytes, not 32"),
        ("s3cr3t!\n", "line 1 is not base64"),
        ("A" * 43, "line 1 is not random"),
    ],
)
def test_bad_keys_of_handshake_tokens_are_an_error_where_they_are_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.yaml").write_text(HANDSHAKE_TOKENS)
    (tmp_path / "tokens.key").write_text(text)
    (error,) = errors(tmp_path)
    assert error.startswith(f"{tmp_path}/a.yaml:4:")
    assert error.endswith(f'tokens.key" holds no usable key for handshake tokens: {why}')


def test_a_secret_is_as_long_as_its_algorithm_asks(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(with_secret("a.key", algorithm="HS512"))
    (tmp_path / "a.key").write_text(SECRET)
    assert "too short for HS512" in errors(tmp_path)[0]


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(with_secret("a.key"))
    (tmp_path / "a.key").mkdir()
    assert errors(tmp_path)[0].endswith("cannot be read: this is no regular file")
    assert examine([tmp_path]).named.absent == []


def test_a_key_set_and_certificates_are_read_too(tmp_path: Path) -> None:
    local = "{name: a, issuer: a, audiences: [a], algorithms: [ES256], localJWKS: {file: a.json}}"
    remote = "{name: b, issuer: b, audiences: [b], algorithms: [ES256], remoteJWKS: {uri: 'https://b', caFile: b.pem}}"
    (tmp_path / "a.yaml").write_text(policy(spec=f"{{jwt: {{providers: [{local}, {remote}]}}}}"))
    (tmp_path / "a.json").write_bytes(jwks(public_jwk("RS256")))
    (tmp_path / "b.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    first, second = errors(tmp_path)
    assert "the key set has no key for ES256" in first
    assert second.endswith(f'"{tmp_path}/b.pem" holds no usable certificates: it is not PEM')
    (tmp_path / "a.json").write_bytes(jwks(public_jwk("ES256")))
    (tmp_path / "b.pem").unlink()
    (error,) = errors(tmp_path)
    assert "b.pem" in error


def test_a_token_is_one_word(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(policy() + "---\n" + guard("{admin: {tokenFile: token}}"))
    (tmp_path / "token").write_text("two words")
    assert errors(tmp_path)[0].endswith("holds no usable bearer token: a token has no white space")


def test_what_opens_a_stream_is_read_and_one_line(tmp_path: Path) -> None:
    stream = "type: RedisStream, urlFile: url, passwordFile: password, tls: {caFile: ca.pem}"
    (tmp_path / "a.yaml").write_text(
        policy() + "---\n" + guard(f"{{sessionEvents: {{onGap: Continue, sources: [{{{stream}}}]}}}}")
    )
    (tmp_path / "url").write_text("redis://user:password@host:6379/0 or so")
    (tmp_path / "password").write_text("one line\nand another")
    (tmp_path / "ca.pem").write_text("no certificate")
    found = errors(tmp_path)
    assert found[0].endswith("holds no usable address: an address has no white space")
    assert found[1].endswith("holds no usable secret: it has more than one line")
    assert found[2].endswith("holds no usable certificates: it is not PEM")
    assert "another" not in str(found)
    (tmp_path / "url").write_text("redis://user:password@host:6379/0\n")
    (tmp_path / "password").write_text("a pass phrase\n")
    assert len(errors(tmp_path)) == 1


def test_credentials_for_nats_are_those_of_a_user(tmp_path: Path) -> None:
    stream = "type: NATSJetStream, url: 'tls://a', credentialsFile: guard.creds"
    (tmp_path / "a.yaml").write_text(
        policy() + "---\n" + guard(f"{{sessionEvents: {{onGap: Continue, sources: [{{{stream}}}]}}}}")
    )
    (tmp_path / "guard.creds").write_text(CREDENTIALS.replace("SU", "SA"))  # an account's: it could make users
    (error,) = errors(tmp_path)
    assert "no usable NATS credentials: it does not have a user's JWT and the seed of its nkey" in error
    (tmp_path / "guard.creds").write_text(CREDENTIALS)
    assert examine([tmp_path]).problems == ()


def test_checking_knows_absent_keys_from_bad_ones(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(with_secret("a.key"))
    examined = examine([tmp_path])
    assert examined.problems == ()
    assert [problem.line for problem in examined.named.absent] == [4]


def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A swap between two files of a ConfigMap must not give one old and one new policy."""
    volume = Volume(tmp_path / "p", {"a.yaml": policy("a-old"), "b.yaml": policy("b-old", "{match: {hostnames: [b]}}")})
    swapped: list[Path] = []

    def swap_behind_the_first(file: Path, most: int) -> bytes:
        data = files.read_bytes(file, most)
        if not swapped:
            swapped.append(file)
            volume.swap({"a.yaml": policy("a-new"), "b.yaml": policy("b-new", "{match: {hostnames: [b]}}")})
        return data

    monkeypatch.setattr(store, "read_bytes", swap_behind_the_first)
    assert [each.name for each in snapshot(volume.path).policy_set.policies] == ["a-new", "b-new"]


def test_gives_up_on_files_that_never_hold_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(policy())

    def change(path: Path, most: int) -> bytes:
        data = files.read_bytes(path, most)
        file.write_text(policy() + "#" * len(data))
        return data

    monkeypatch.setattr(store, "read_bytes", change)
    assert errors(tmp_path) == [f"{tmp_path}:1:1: error: the files change faster than they can be read"]


def test_a_mounted_policy_may_name_a_mounted_secret(tmp_path: Path) -> None:
    secrets = Volume(tmp_path / "secrets", {"a.key": SECRET})
    policies = Volume(tmp_path / "policies", {"a.yaml": with_secret(str(secrets.path / "a.key"))})
    before = snapshot(policies.path)
    secrets.swap({"a.key": "t" * 32})
    after = snapshot(policies.path)
    assert before.revision != after.revision
    assert before.stamp != after.stamp
    shutil.rmtree(secrets.path)
    assert "cannot be read" in errors(policies.path)[0]


def _tls(folder: Path, certificate: str, key: str, more: str = "") -> Path:
    """A GuardConfig and a policy in a file."""
    file = folder / "a.yaml"
    file.write_text(
        f"{guard(f'{{listener: {{tls: {{certFile: {certificate}, keyFile: {key}{more}}}}}}}')}---\n{policy()}"
    )
    return file


def test_certificates_are_read_with_their_keys(tmp_path: Path) -> None:
    """What they make is in the snapshot, for whoever speaks TLS."""
    authority = Authority(tmp_path)
    found = snapshot(
        _tls(tmp_path, *authority.server("localhost"), f", clientValidation: {{caFile: {authority.file}}}")
    )
    assert found.listener_tls is not None
    assert found.listener_tls.verify_mode is ssl.CERT_REQUIRED
    assert found.backend_tls == {}
    assert "PRIVATE" not in repr(found)


def test_what_is_wrong_with_certificates_is_said_where_they_are_named(tmp_path: Path) -> None:
    """Another's key, no certificate at all, no authority."""
    authority = Authority(tmp_path)
    (certificate, _), (_, key) = authority.server("one"), authority.server("two")
    [line] = errors(_tls(tmp_path, certificate, key))
    assert line.startswith(f"{tmp_path}/a.yaml:3:")
    assert line.endswith('two.key" holds no usable private key: it is not the key of the certificate')
    [line] = errors(_tls(tmp_path, key, key))
    assert line.endswith('two.key" holds no usable certificate: it is not PEM')
    [line] = errors(_tls(tmp_path, *authority.server("one"), f", clientValidation: {{caFile: {key}}}"))
    assert line.endswith('two.key" holds no usable certificates: it is not PEM')


def test_an_expired_certificate_is_a_warning(tmp_path: Path) -> None:
    """A guard that cannot start would help nobody who renews it a minute later."""
    file = _tls(tmp_path, *Authority(tmp_path).server("localhost", days=-1))
    [warning] = [str(each) for each in snapshot(file).warnings if "expired" in str(each)]
    assert "is a certificate that no client accepts: it expired at 20" in warning
