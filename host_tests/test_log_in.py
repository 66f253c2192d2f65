"""Logging in at DeviceHive, as each kind of user, and what happens when that no longer works."""

import re

import pytest

from host_tests.stage import Stage
from tools.rest import REST, Refused

# What a device needs: GetDevice, GetDeviceCommand, RegisterDevice, UpdateDeviceCommand and
# CreateDeviceNotification.
DEVICE_RIGHTS = [3, 5, 6, 8, 9]
# Over this the agent says that it waits: ten wrong passwords lock an account.
SLOW_S = 60

HALF_HOUR_S = 30 * 60
HALF_A_YEAR_S = 182 * 24 * 3600


def client(stage, login="client", **scope):
    """A user who is no administrator, of network 2 unless told otherwise."""
    stage.hub.store.networks[2] = "the client's"
    scope = {"networks": {2}, "types": {1}, **scope}
    return stage.hub.store.add_user(login, "secret", admin=False, **scope)


def token(stage, **own):
    """Settings of an agent that logs in by a refresh token, made for a device of network 2."""
    payload = {
        "userId": client(stage).id,
        "actions": DEVICE_RIGHTS,
        "networkIds": [2],
        "deviceTypeIds": [1],
        **own,
    }
    made = stage.hub.tokens.create(payload)["refreshToken"]
    return {"login": "", "password": "", "refresh_token": made}


def counted(stage, name):
    """Note each call of one of the hub's checks from now on; the list of its results."""
    real, seen = getattr(stage.hub.tokens, name), []

    def check(*words):
        seen.append(None)
        seen[-1] = real(*words)
        return seen[-1]

    setattr(stage.hub.tokens, name, check)
    return seen


def forget(stage):
    """Have the hub forget who the agent is."""
    trap = stage.hub.traps["logged-out"]
    (client_id,) = trap.broker.clients
    trap.strike(client_id)


async def works(stage, *command):
    """That a command is run and answered."""
    name, parameters = command or ("note", {"n": 1})
    (outcome,) = await stage.outcomes([await stage.insert(name, parameters, 30)])
    assert outcome == ("succeeded", parameters)


async def refused(stage, *sentences, **own):
    """That an agent with these settings says so, keeps to one line, and waits long."""
    await stage.start_agent(online=False, **own)
    await stage.says("next try in")
    (line,) = stage.place.agent.lines
    for sentence in sentences:
        assert sentence in line
    assert int(re.search(r"next try in (\d+)\.", line)[1]) >= SLOW_S
    assert stage.relay.dialled == 1


@pytest.mark.parametrize("bits", [32, 64])
async def test_a_login_and_a_password_bring_a_client_s_device_online(tmp_path, bits):
    async with Stage(tmp_path, bits) as stage:
        client(stage)
        await stage.start_agent(login="client", password="secret")
        device = stage.hub.store.devices["dev-1"]
        assert (device.name, device.network, device.type) == ("Board", 2, 1)
        await works(stage)


@pytest.mark.parametrize("bits", [32, 64])
async def test_a_refresh_token_with_a_device_s_rights_alone_is_enough(tmp_path, bits):
    async with Stage(tmp_path, bits) as stage:
        passwords = counted(stage, "login")
        await stage.start_agent(**token(stage))
        device = stage.hub.store.devices["dev-1"]
        assert (device.network, device.type) == (2, 1)
        await works(stage)
        await works(stage, "gpio/write", {"pin": 2})
        names = [one.name for one in device.notifications]
        assert names == ["online"] and passwords == []


@pytest.mark.parametrize("kind", ["password", "token"])
async def test_a_session_outlives_its_access_token(tmp_path, kind):
    async with Stage(tmp_path) as stage:
        own = token(stage) if kind == "token" else {}
        refreshed = counted(stage, "refresh")
        await stage.start_agent(**own)
        stage.clock.ahead_s += HALF_HOUR_S + 60
        with pytest.raises(Refused, match="Token expired"):
            await stage.insert("note", {})
        for granted in refreshed:
            with pytest.raises(Exception, match="Token expired"):
                stage.hub.tokens.principal(granted["accessToken"])
        await stage.rest.login()
        await works(stage)
        assert "WARNING session" not in stage.place.agent.output
        assert stage.relay.dialled == 1 and len(refreshed) == (kind == "token")
        # The next session takes a new one.
        seen = stage.said
        await stage.relay.cut()
        await stage.relay.mend()
        await stage.says("online as dev-1", seen)
        await works(stage)
        assert len(refreshed) == 2 * (kind == "token")


@pytest.mark.parametrize("bits", [32, 64])
async def test_p3_a_forgotten_log_in_by_token_is_made_again_and_the_update_sent_again(
    tmp_path, bits
):
    async with Stage(tmp_path, bits, ["logged-out=100000"]) as stage:
        refreshed = counted(stage, "refresh")
        await stage.start_agent(**token(stage))
        holding = await stage.insert("hold")
        await stage.started(holding)
        forget(stage)
        stage.release()
        assert await stage.outcomes([holding]) == [("succeeded", "held")]
        assert stage.relay.dialled == 2 and len(refreshed) == 2
        # Its subscription went with the log-in: the new session has both.
        await works(stage)


@pytest.mark.parametrize("bits", [32, 64])
async def test_p3_a_forgotten_log_in_by_password_is_made_again_in_a_new_session(tmp_path, bits):
    async with Stage(tmp_path, bits, ["logged-out=100000"]) as stage:
        await stage.start_agent()
        holding = await stage.insert("hold")
        await stage.started(holding)
        seen = stage.said
        forget(stage)
        stage.release()
        await stage.says("online as dev-1", seen)
        assert await stage.outcomes([holding]) == [("succeeded", "held")]
        assert "has forgotten the log-in" in stage.place.agent.output
        assert stage.relay.dialled == 2
        await works(stage)


@pytest.mark.parametrize("bits", [32, 64])
async def test_an_expired_refresh_token_is_told_and_tried_slowly(tmp_path, bits):
    async with Stage(tmp_path, bits) as stage:
        own = token(stage)
        stage.clock.ahead_s += HALF_A_YEAR_S
        await refused(stage, "token/refresh: Token has expired", "refresh_token", **own)


async def test_a_refresh_token_that_expires_in_mid_session_ends_with_the_session(tmp_path):
    async with Stage(tmp_path, traps=["logged-out=100000"]) as stage:
        await stage.start_agent(**token(stage))
        stage.clock.ahead_s += HALF_A_YEAR_S
        await stage.rest.login()
        await works(stage)
        seen = stage.said
        await stage.relay.cut()
        await stage.relay.mend()
        await stage.says("Token has expired.*next try in [6-9]", seen)


async def lock(stage, login):
    """Have somebody else lock an account: ten wrong passwords over REST."""
    async with REST(stage.hub.rest, login, "guess") as stranger:
        for _ in range(10):
            with pytest.raises(Refused, match="401"):
                await stranger.login()
    assert stage.hub.store.users[login].locked


@pytest.mark.parametrize("kind", ["password", "token"])
async def test_a_locked_account_is_told_and_tried_slowly_until_it_is_unlocked(tmp_path, kind):
    """The slow pauses, and that the agent comes online after one, are in cases/test_log_in.py."""
    async with Stage(tmp_path) as stage:
        own = token(stage)
        if kind == "password":
            own = {"login": "client", "password": "secret"}
        await lock(stage, "client")
        await refused(stage, "check the login", **own)
        # It has not made things worse: the count of wrong passwords is as the stranger left it.
        assert stage.hub.store.users["client"].attempts == 10
        stage.hub.store.users["client"].locked = False
        stage.place.agent.stop()
        await stage.start_agent(**own)
        await works(stage)


async def test_an_agent_that_is_online_while_its_account_is_locked_works_on(tmp_path):
    async with Stage(tmp_path) as stage:
        client(stage)
        await stage.start_agent(login="client", password="secret")
        await lock(stage, "client")
        await works(stage)
        assert stage.relay.dialled == 1


@pytest.mark.parametrize("bits", [32, 64])
async def test_a_device_of_another_network_is_refused_and_left_alone(tmp_path, bits):
    async with Stage(tmp_path, bits) as stage:
        client(stage)
        theirs = {"where": "the neighbour's"}
        device = stage.hub.store.save_device("dev-1", "Theirs", theirs, network=1)
        await refused(stage, "No access to device", "right", login="client", password="secret")
        assert (device.name, device.data, device.network) == ("Theirs", theirs, 1)
        assert list(stage.hub.store.devices) == ["dev-1"] and not device.notifications


async def test_a_network_that_is_not_the_user_s_is_refused(tmp_path):
    async with Stage(tmp_path) as stage:
        client(stage)
        own = {"login": "client", "password": "secret", "network_id": 1}
        await refused(stage, "No access to network!", "network", **own)
        assert not stage.hub.store.devices


@pytest.mark.parametrize("data", [{"where": "cellar"}, ["a", {"b": 1}], "a note", None])
async def test_a_device_that_is_there_keeps_its_data(tmp_path, data):
    async with Stage(tmp_path) as stage:
        client(stage)
        device = stage.hub.store.save_device("dev-1", "Old", data, network=2)
        await stage.start_agent(login="client", password="secret")
        await works(stage)
        kept = device.data
        if isinstance(data, dict | None):
            # The catalogue of handlers is added to what is there.
            assert set(kept.pop("commands")) >= {"note", "gpio/write"}
            data = data or {}
        assert kept == data and (device.name, device.network) == ("Board", 2)


@pytest.mark.parametrize("bits", [32, 64])
async def test_names_with_a_slash_are_names_like_any_other(tmp_path, bits):
    async with Stage(tmp_path, bits) as stage:
        client(stage, "house/cellar")
        settings = stage.place.settings(login="house/cellar", password="secret")
        settings["device"]["name"] = "Cellar / left"
        stage.place.settings = lambda **_own: settings
        await stage.start_agent()
        assert stage.hub.store.devices["dev-1"].name == "Cellar / left"
        # By push, and after an outage by list.
        await works(stage, "gpio/write", {"pin": 1})
        seen = stage.said
        await stage.relay.cut()
        missed = await stage.insert("gpio/write", {"pin": 2})
        unknown = await stage.insert("gpio/read", {"pin": 2})
        await stage.relay.mend()
        await stage.says("online as dev-1", seen)
        done, nobody = await stage.outcomes([missed, unknown])
        assert done == ("succeeded", {"pin": 2}) and nobody[0] == "unknown"
