from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.target import BadTarget, basic_target_problem, is_reserved, read_path, readings


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/ws", "/ws"),
        ("/ws/", "/ws/"),
        ("/WS", "/WS"),
        ("/ws?x=1", "/ws"),
        ("/ws?", "/ws"),
        ("/ws?a=/../b//c;d", "/ws"),  # the query is the application's own
        ("/ws?x=%2F%2e%zz", "/ws"),
        ("/%77s", "/ws"),
        ("/a%20b", "/a b"),
        ("/a+b", "/a+b"),
        ("/caf%C3%A9", "/café"),
        ("/caf%c3%a9", "/café"),
        ("/caf%E9", "/caf\udce9"),  # not UTF-8: still a path, and one of its own
        ("/a%3Bb", "/a;b"),
        ("/a%3Fb", "/a?b"),
        ("/a%23b", "/a#b"),
        ("/a%0Ab", "/a\nb"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a/..b/c..", "/a/..b/c.."),
        ("/a:b@c!$&'()*,=~", "/a:b@c!$&'()*,=~"),
        ("/%c0%ae%c0%ae/admin", "/\udcc0\udcae\udcc0\udcae/admin"),  # an overlong dot is no dot
    ],
)
def test_reads_a_path(target: str, path: str) -> None:
    assert read_path(target) == path


@pytest.mark.parametrize(
    "target",
    [
        "",
        "ws",
        "*",
        "?x",
        "http://app.example.com/ws",
        "app.example.com:80",
        "//evil.test/ws",
        "/a//b",
        "/a//",
        "/ws/.",
        "/ws/./x",
        "/..",
        "/ws/..",
        "/ws/../admin",
        "/ws/..?x",
        "/ws\\x",
        "/ws?a\\b",
        "/ws#x",
        "/ws?x#y",
        "/ws;x",
        "/ws;jsessionid=1/y",
        "/a%2Fb",
        "/a%2fb",
        "/a%5Cb",
        "/a%5cb",
        "/a%2Eb",
        "/%2e%2e/b",
        "/.%2e/b",
        "/a%25b",
        "/%252e%252e/b",
        "/a%00",
        "/a%0A",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%2G",
        "/a%-1",
        "/a% 2",
        "/a%u002e",
        "/a b",
        "/a\tb",
        "/a\rb",
        "/a\nb",
        "/a\n",
        "/a\0b",
        "/a\x7f",
        "/ws?\x01",
        "/é",
        "/ws?é",
        "/\udcff",
    ],
)
def test_refuses_what_servers_read_differently(target: str) -> None:
    with pytest.raises(BadTarget):
        read_path(target)


def test_the_reason_repeats_nothing_that_was_sent() -> None:
    with pytest.raises(BadTarget) as refusal:
        read_path("/secret;token")
    assert "secret" not in str(refusal.value)
    assert "token" not in str(refusal.value)


@given(st.text(alphabet="/.;%2eEfF5cC0\\?#abé\0 ", max_size=20).map("/".__add__))
def test_a_path_that_is_read_has_one_meaning(target: str) -> None:
    try:
        path = read_path(target)
    except BadTarget:
        return
    raw = target.partition("?")[0]
    assert raw.count("/") == path.count("/")
    assert not {"..", "."} & set(path.split("/"))
    assert "//" not in path
    assert not set("\\%\0") & set(path)


@given(st.text(st.characters(exclude_characters="/\\%.\0\n", exclude_categories=["Cs"]), min_size=1))
def test_any_segment_comes_back_as_it_was_quoted(segment: str) -> None:
    assert read_path("/" + quote(segment)) == "/" + segment


@pytest.mark.parametrize("target", ["/", "/a//b", "//a", "/a;b", "/a%2Fb", "/%zz", "/a/../b", "/é", "/a?b=c%"])
def test_plain_http_may_be_stranger(target: str) -> None:
    assert basic_target_problem(target) is None


@pytest.mark.parametrize("target", ["", "*", "a", "http://a/", "/a#b", "/a\\b", "/a?b\\c", "/a b", "/a\r\nb", "/\0"])
def test_but_not_any_stranger(target: str) -> None:
    assert basic_target_problem(target)


@pytest.mark.parametrize(
    "target",
    [
        "/.wsguard",
        "/.wsguard/",
        "/.wsguard/client.js",
        "/.wsguard?x",
        "/.wsguard#x",
        "/.WSGuard/x",
        "/%2ewsguard/x",
        "/%2E%77%73guard/x",
        "/.wsguard%2Fx",
        "/.wsguard%2fx",
        "/.wsguard%5Cx",
        "/.wsguard%3Fx",
        "/.wsguard%00x",
        "/.wsguard;a=b/x",
        "/%252ewsguard/x",
        "/%25252ewsguard/x",
        "/%2%65wsguard",
        "//.wsguard/x",
        "///.wsguard/x",
        "/./.wsguard/x",
        "/%2e/.wsguard/x",
        "/;a/.wsguard/x",
        "/.;a/.wsguard/x",
        "/%2F.wsguard/x",
        "/\\.wsguard/x",
        "/%5C.wsguard/x",
        "/a/../.wsguard/x",
        "/a/%2e%2e/.wsguard/x",
        "/a%2f..%2f.wsguard/x",
        "/a/..;/.wsguard/x",
        "/a%5Cb/../.wsguard/x",  # to a server for which \ is a letter
        "/a%2Fb/../.wsguard/x",  # to a server that resolves before it decodes
        "/a//../.wsguard/x",  # to a server that merges slashes
        "/.wsguard/../x",
        "/%25252525252e",  # nobody's honest path
    ],
)
def test_the_guards_own_paths_are_known_in_every_disguise(target: str) -> None:
    assert is_reserved(target)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/wsguard",
        "/.wsguardian",
        "/.wsguard-docs/x",
        "/.wsguard_x",
        "/docs/.wsguard/x",
        "/x.wsguard/",
        "/a?/.wsguard/",
        "/a/../b",
        "/a%20b/%E9",
        "/100%25/x",
        "/broken%zz",
        "",
    ],
)
def test_other_paths_are_not_the_guards(target: str) -> None:
    assert not is_reserved(target)


@given(st.lists(st.sampled_from(["/", "//", "/./", "%2F", "/;x/", "/a/../", "\\"])), st.data())
def test_no_prefix_that_leads_to_the_root_hides_them(prefix: list[str], data: st.DataObject) -> None:
    name = "".join(
        data.draw(st.sampled_from([char, char.upper(), f"%{ord(char):02x}", f"%25{ord(char):02X}"]))
        for char in ".wsguard"
    )
    assert is_reserved("/" + "".join(prefix) + "/" + name + "/renew")


@pytest.mark.parametrize(
    "target",
    [
        "//poll",
        "//evil.example/poll",
        "/a/../poll",
        "/a/%2e%2e/poll",
        "/a/%2E%2e%2Fpoll",
        "/a/..;/poll",
        "/%70oll;x=1",
        "/x/%252e%252e/poll",
        "/poll%00.html",
        "/poll%0a",
        "/poll/%0A",
        "/a%5C..%5Cpoll",
        "/./poll",
        "/poll/.",
        "/%2Fpoll",
    ],
)
def test_one_of_the_readings_is_what_a_backend_may_find(target: str) -> None:
    found = readings(target)
    assert found is not None
    assert {"/poll", "/poll/"} & found


@given(st.text("/.;%25eEfF0poll\\", max_size=60).map(lambda rest: f"/{rest}"))
def test_readings_end_whatever_is_sent(target: str) -> None:
    found = readings(target)
    assert found is None or target in found
