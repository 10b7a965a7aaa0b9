"""Redis settings from URLs and the environment, and the addresses that are refused. No server."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.connection import RedisSettings
from engine.errors import InvalidInput, InvalidOption
from engine.settings import Settings

PARSED = {
    "redis://": RedisSettings(),
    "redis://localhost": RedisSettings(),
    "redis://h:7000/3": RedisSettings(host="h", port=7000, db=3),
    "redis://h/?db=4": RedisSettings(host="h", db=4),
    "redis://:secret@h": RedisSettings(host="h", password="secret"),
    "redis://ann:secret@h": RedisSettings(host="h", username="ann", password="secret"),
    "redis://a%40b:p%2Fq%23r%25@h": RedisSettings(host="h", username="a@b", password="p/q#r%"),
    "redis://[::1]:7000/1": RedisSettings(host="::1", port=7000, db=1),
    "redis://h?family=0": RedisSettings(host="h"),
    "rediss://h": RedisSettings(host="h", tls=True),
    "rediss://h?tls_ca=/ca.pem&tls_verify=false": RedisSettings(host="h", tls=True, tls_ca="/ca.pem", tls_verify=False),
    "unix:///run/v.sock": RedisSettings(unix_socket="/run/v.sock"),
    "unix:///run/a%20b.sock?db=1": RedisSettings(unix_socket="/run/a b.sock", db=1),
    "unix://ann:secret@/run/v.sock": RedisSettings(unix_socket="/run/v.sock", username="ann", password="secret"),
    "redis://h?call_timeout=2500&connect_timeout=1s": RedisSettings(
        host="h", call_timeout=timedelta(seconds=2.5), connect_timeout=1_000
    ),
    "embedded:": RedisSettings(embedded=""),
    "embedded:data": RedisSettings(embedded="data"),
    "embedded:///var/data": RedisSettings(embedded="/var/data"),
}

REFUSED = {
    "localhost:6379": "unknown scheme 'localhost'",
    "http://h": "unknown scheme 'http'",
    "": "no scheme",
    "redis://h:port": "port is not a number",
    "redis://h:70000": "port is not a number from 1 to 65535",
    "redis://h:0": "redis port: 0",
    "redis://h/one": "db .*'one' is not a number",
    "redis://h/-1": "db .*'-1' is not a number",
    "redis://h?db=x": "db: 'x' is not a number",
    "redis://h?dbb=1": "unknown setting 'dbb'; known are db, ",
    "redis://h?calltimeout=1s": "unknown setting 'calltimeout'; known are .*; did you mean 'call_timeout'",
    "redis://h?tls_verify=maybe": "neither true nor false",
    "redis://h?call_timeout=soon": "call_timeout: 'soon' is not a duration",
    "redis://h?call_timeout=0": "redis call_timeout: 0 ",
    "redis://h?call_timeout=2.5": "write 500ms, 30s, 2m, 1h or 7d, or a number of milliseconds",
    "redis://h?tls_key=/k": "give tls_cert too",
    "unix://run/v.sock": "whole path",
    "redis://[::1": "host part cannot be read",
}


@pytest.mark.parametrize("url", PARSED)
def test_an_address_says_where_redis_is(url: str) -> None:
    assert RedisSettings.parse(url) == PARSED[url]


@pytest.mark.parametrize("url", REFUSED)
def test_a_wrong_address_is_refused_with_the_reason(url: str) -> None:
    with pytest.raises(InvalidInput, match=REFUSED[url]):
        RedisSettings.parse(url)


@pytest.mark.parametrize(
    "password", ["hunter2/x", "hunter2#x", "hunter2?x", "hunter2[x", "hunter2:x@y/z", "12/hunter2", "12?hunter2=1"]
)
def test_no_message_shows_a_password_that_was_not_encoded(password: str) -> None:
    try:
        shown = repr(RedisSettings.parse(f"redis://ann:{password}@host:6379/0"))
    except InvalidInput as error:
        shown = str(error) + repr(error.__cause__)
        assert "%2F" in shown
    assert "hunter2" not in shown


def test_the_repr_shows_the_place_and_no_login() -> None:
    settings = RedisSettings.parse("rediss://ann:hunter2@example.org:7000/2")
    assert repr(settings) == str(settings) == "RedisSettings('rediss://example.org:7000/2')"


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1)


@given(
    st.builds(
        RedisSettings,
        host=st.sampled_from(["h", "::1", "10.0.0.1", "redis.example.org"]),
        port=st.integers(1, 65535),
        db=st.integers(0, 1000),
        username=st.none() | names,
        password=st.none() | names,
        tls=st.booleans(),
        tls_ca=st.none() | names,
        tls_verify=st.booleans(),
        call_timeout=st.integers(1, 86_400_000),
    )
)
def test_the_url_of_settings_says_the_same_settings(settings: RedisSettings) -> None:
    assert RedisSettings.parse(settings.url) == settings


@pytest.mark.parametrize(
    ("env", "settings"),
    [
        ({}, RedisSettings()),
        ({"REDIS_URL": " redis://h/2 "}, RedisSettings(host="h", db=2)),
        ({"REDIS_URL": "", "REDIS_HOST": "h"}, RedisSettings(host="h")),
        (
            {
                "REDIS_HOST": "h",
                "REDIS_PORT": "7000",
                "REDIS_USERNAME": "ann",
                "REDIS_PASSWORD": " p ",
                "REDIS_DB": "3",
            },
            RedisSettings(host="h", port=7000, username="ann", password=" p ", db=3),
        ),
        ({"REDIS_TLS": "true"}, RedisSettings(tls=True)),
        ({"REDIS_TLS": "0"}, RedisSettings()),
        (
            {"REDIS_URL": "redis://h", "REDIS_PASSWORD": "p", "REDIS_DB": "1"},
            RedisSettings(host="h", password="p", db=1),
        ),
        (
            {"REDIS_URL": "redis://:q@h/2", "REDIS_PASSWORD": "p", "REDIS_DB": "1"},
            RedisSettings(host="h", password="q", db=2),
        ),
        ({"REDIS_URL": "redis://h", "REDIS_HOST": "other", "REDIS_TLS": "yes"}, RedisSettings(host="h", tls=True)),
        ({"REDIS_URL": "embedded:", "REDIS_PASSWORD": "p"}, RedisSettings(embedded="")),
    ],
)
def test_the_environment_says_where_redis_is(env: dict[str, str], settings: RedisSettings) -> None:
    assert RedisSettings.from_environment(env) == settings


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"REDIS_PORT": "x"}, "REDIS_PORT: 'x' is not a number"),
        ({"REDIS_DB": "-1"}, "REDIS_DB: '-1'"),
        ({"REDIS_TLS": "perhaps"}, "REDIS_TLS: 'perhaps' is neither"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(env: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        RedisSettings.from_environment(env)


def test_files_hold_what_the_environment_should_not(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(" redis://:in-url@h/2\n")
    (tmp_path / "password").write_text(" p w \r\n")
    (tmp_path / "empty").write_text("\n")
    url, password = str(tmp_path / "url"), str(tmp_path / "password")
    read = RedisSettings.from_environment
    assert read({"REDIS_URL_FILE": url}) == RedisSettings(host="h", db=2, password="in-url")
    assert read({"REDIS_URL": "redis://h", "REDIS_PASSWORD_FILE": password}) == RedisSettings(
        host="h", password=" p w "
    )
    for env, words in (
        ({"REDIS_PASSWORD_FILE": str(tmp_path / "none")}, "REDIS_PASSWORD_FILE: .*none cannot be read"),
        ({"REDIS_URL_FILE": str(tmp_path / "empty")}, "REDIS_URL_FILE: .*empty is empty"),
        ({"REDIS_PASSWORD": "canary", "REDIS_PASSWORD_FILE": password}, "are both set; unset one"),
    ):
        with pytest.raises(InvalidOption, match=words) as no:
            read(env)
        assert "canary" not in str(no.value)


def test_a_file_of_the_environment_beats_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("new")
    (tmp_path / "corral.toml").write_text('[redis]\nurl = "redis://h"\npassword = "old"\n')
    env = {"REDIS_PASSWORD_FILE": str(tmp_path / "password")}
    assert Settings.load(tmp_path / "corral.toml", env).redis == RedisSettings(host="h", password="new")
    (tmp_path / "url.toml").write_text(f'[redis]\npassword_file = "{tmp_path / "password"}"\n')
    assert Settings.load(tmp_path / "url.toml", {"REDIS_URL": "redis://h"}).redis == RedisSettings(
        host="h", password="new"
    )
