"""The stand-in cloud for development: a DeviceHive on this machine.

A device talks to it over MQTT, a person over REST. It does what the real server and broker
were seen to do, so that an agent that works here works there. Nothing is kept on disk.
"""

import argparse
import contextlib
import ipaddress
import json
import secrets
import shlex
import socket
import sys

from .traps import described, switched_on

_PASSWORD = "heed"


def add_arguments(parser):
    """Add the verb's options to an argparse parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(["traps, each with its usual number:", *described()])
    parser.add_argument("--host", help="address to listen on, 127.0.0.1 if not --lan")
    parser.add_argument(
        "--lan",
        action="store_true",
        help="listen for boards, with a password of its own; `deploy --hub` knows both",
    )
    parser.add_argument("--mqtt-port", type=int, default=1883, help="0 picks a free one")
    parser.add_argument("--http-port", type=int, default=8080, help="0 picks a free one")
    parser.add_argument("--login", default="heed", help="name of the one user")
    parser.add_argument("--password", help=f"the user's password, {_PASSWORD} if not --lan")
    parser.add_argument("--json", action="store_true", help="tell where it listens as JSON")
    parser.add_argument(
        "--trap",
        action="append",
        default=[],
        metavar="NAME",
        help="misbehave as the real one was seen to; NAME or NAME=NUMBER, again for more",
    )
    parser.add_argument("--verbose", action="store_true", help="log what happens to stderr")


def run(args):
    """Serve until SIGINT or SIGTERM.

    Returns:
        0 after a signal, 1 when a port or an address for --lan cannot be had, 2 for the
        default password on an address that others can reach and for a trap that is none.
    """
    try:
        switched_on(args.trap)
    except ValueError as error:
        print(f"hub: {error}", file=sys.stderr)
        return 2
    args.host = args.host or (_own_address() if args.lan else "127.0.0.1")
    args.password = args.password or (secrets.token_urlsafe(12) if args.lan else _PASSWORD)
    if not args.host:
        print("hub: this machine is in no network; --host names its address", file=sys.stderr)
        return 1
    if args.password == _PASSWORD and not _loopback(args.host):
        print(
            f"hub: give a --password of your own before others can reach {args.host}",
            file=sys.stderr,
        )
        return 2
    # Late, so that --help needs nothing installed.
    import asyncio
    import logging

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if args.verbose else logging.ERROR,
        format="%(asctime)s %(name)s: %(message)s",
    )
    try:
        return asyncio.run(_serve(args))
    except OSError as error:
        print(f"hub: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # Where the loop takes no signal handlers, on Windows.
        return 0


async def _serve(args):
    import asyncio
    import signal

    from .hub import Hub

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        except NotImplementedError:
            pass
    ports = args.mqtt_port, args.http_port
    async with Hub(args.host, *ports, args.login, args.password, traps=args.trap) as hub:
        with _published(hub, args) if args.lan else contextlib.nullcontext():
            text = json.dumps(_summary(hub, args)) if args.json else _welcome(hub, args)
            print(text, flush=True)
            await stop.wait()
    return 0


def _own_address():
    """This machine's address in its network, "" where it is in none; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation
        except OSError:
            return ""
        return probe.getsockname()[0]


def _published(hub, args):
    """Has address and credentials where `deploy --hub` finds them, as long as the block runs."""
    from tools.deploy import wishes

    found = {
        "host": args.host,
        "port": hub.mqtt_port,
        "login": args.login,
        "password": args.password,
    }
    return wishes.kept(json.dumps(found), wishes.HUB)


def _loopback(host):
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _summary(hub, args):
    return {
        "mqtt_port": hub.mqtt_port,
        "http_port": hub.http_port,
        "login": args.login,
        "password": args.password,
        "rest": hub.rest,
        "websocket": hub.websocket,
        **({"traps": args.trap} if args.trap else {}),
    }


def _welcome(hub, args):
    settings = {
        "host": args.host,
        "port": hub.mqtt_port,
        "login": args.login,
        "password": args.password,
    }
    login = shlex.quote(json.dumps({"login": args.login, "password": args.password}))
    amiss = f"It misbehaves on purpose: {', '.join(args.trap)}.\n" if args.trap else ""
    lan = (
        f"Boards in this network: python3 -m tools deploy --hub\n"
        f"This machine's firewall has to let TCP port {hub.mqtt_port} in.\n"
        f"For `send`: export HEED_LOGIN={shlex.quote(args.login)} "
        f"HEED_PASSWORD={shlex.quote(args.password)}\n"
    )
    return f"""The hub is ready, a DeviceHive for development. Ctrl-C ends it.
{amiss}{lan if args.lan else ""}
In an agent's settings: "devicehive": {json.dumps(settings)}

To send a command to a device once it is online:
  python3 -m tools send DEVICE COMMAND '{{"some": "parameter"}}' --lifetime 60 --url {hub.rest}
or with any other client of DeviceHive's REST API:
  TOKEN=$(curl -s {hub.rest}/token -d {login} |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["accessToken"])')
  curl {hub.rest}/device/DEVICE/command -H "Authorization: Bearer $TOKEN" \\
    -d '{{"command": "COMMAND", "parameters": {{"some": "parameter"}}, "lifetime": 60}}'
"""
