"""`send`: one command through the cloud's REST API; waits for its outcome and prints it."""

import argparse
import asyncio
import json
import os
import time

from tools.report import Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    environ = os.environ.get
    url = environ("HEED_URL", "http://127.0.0.1:8080/api/rest")
    parser.add_argument("device", help="the device's id")
    parser.add_argument("command", help="the command's name")
    parser.add_argument("parameters", nargs="?", metavar="JSON", help="its parameters")
    parser.add_argument("--lifetime", type=int, metavar="S", help="seconds until it is too late")
    parser.add_argument("--timeout", type=float, default=30, metavar="S", help="seconds to wait")
    parser.add_argument("--url", default=url, help=f"the REST API (HEED_URL), now {url}")
    parser.add_argument("--login", default=environ("HEED_LOGIN", "heed"), help="HEED_LOGIN")
    parser.add_argument(
        "--password", default=environ("HEED_PASSWORD", "heed"), help="HEED_PASSWORD"
    )
    parser.add_argument("--json", action="store_true", help="print the command as JSON")


def run(args: argparse.Namespace) -> int:
    return asyncio.run(_send(args, _parsed(args.parameters)))


def _parsed(text: str | None) -> object:
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise Problem(f"the parameters are not JSON: {error}", 2) from None


async def _send(args: argparse.Namespace, parameters: object) -> int:
    from tools.rest import REST  # needs the environment

    async with REST(args.url, args.login, args.password) as rest:
        await rest.login()
        started = time.monotonic()
        sent = await rest.insert(args.device, args.command, parameters, args.lifetime)
        outcome = await rest.wait(args.device, sent["id"], args.timeout)
    if outcome is None:
        raise Problem(
            f"no outcome within {args.timeout:g} s of command {sent['id']}: "
            f"{args.device} is offline or still at it."
        )
    _show(args, outcome, time.monotonic() - started)
    return 0 if outcome["status"] == "succeeded" else 1


def _show(args: argparse.Namespace, outcome: dict, seconds: float) -> None:
    if args.json:
        print(json.dumps(outcome))
        return
    print(f"{args.command} on {args.device}: {outcome['status']} ({seconds:.2f} s)")
    if outcome.get("result") is not None:
        print(json.dumps(outcome["result"], indent=2, ensure_ascii=False))
